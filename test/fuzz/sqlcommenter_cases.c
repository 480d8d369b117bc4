/*-------------------------------------------------------------------------
 *
 * sqlcommenter_cases.c
 *	  Table of statements and what sqlcommenter.c must read in them.
 *
 * Prints TAP.  Compiles on its own:
 *		cc -Itest/fuzz -Isrc test/fuzz/sqlcommenter_cases.c src/sqlcommenter.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <stdio.h>
#include <stdlib.h>

#include "sqlcommenter.h"

typedef struct Case
{
	const char *name;
	const char *query;
	const char *value;			/* of key "action"; NULL: not found */
} Case;

static const Case cases[] = {
	/* Where the comment stands */
	{"no comment", "SELECT 1", NULL},
	{"empty statement", "", NULL},
	{"comment alone", "/*action='a'*/", "a"},
	{"appended", "SELECT 1 /*action='a'*/", "a"},
	{"prepended", "/*action='a'*/ SELECT 1", "a"},
	{"appended without a space", "SELECT 1/*action='a'*/", "a"},
	{"semicolon behind", "SELECT 1 /*action='a'*/;", "a"},
	{"semicolon before", "SELECT 1; /*action='a'*/", "a"},
	{"white space behind", "SELECT 1 /*action='a'*/ \t\r\n\f\v; \n", "a"},
	{"white space before", " \n;\t/*action='a'*/ SELECT 1", "a"},
	{"between the tokens", "SELECT /*action='a'*/ 1", NULL},
	{"between, another one behind", "SELECT /*action='a'*/ 1 /*x*/", NULL},
	{"behind an operator", "SELECT 1 +/*action='a'*/", "a"},
	{"before a line comment", "SELECT 1 /*action='a'*/ -- end", "a"},
	{"behind a line comment", "SELECT 1 -- end\n/*action='a'*/", "a"},
	{"behind a leading line comment", "-- x\n/*action='a'*/ SELECT 1", "a"},

	/* Other comments beside it */
	{"plain comment first", "SELECT 1 /* x */ /*action='a'*/", "a"},
	{"plain comment last", "SELECT 1 /*action='a'*/ /* x */", "a"},
	{"hint first", "/*+ SeqScan(t) */ /*action='a'*/ SELECT 1", "a"},
	{"hint and appended", "/*+ SeqScan(t) */ SELECT 1 /*action='a'*/", "a"},
	{"last one wins", "/*action='a'*/ SELECT 1 /*action='b'*/", "b"},
	{"last of a row wins", "SELECT 1 /*action='a'*//*action='b'*/", "b"},
	{"last pair wins", "SELECT 1 /*action='a',action='b'*/", "b"},
	{"last with the key", "SELECT 1 /*action='a'*/ /*route='r'*/", "a"},
	{"last that is one", "SELECT 1 /*action='a'*/ /*action=b*/", "a"},
	{"plain comment only", "SELECT 1 /* x */", NULL},
	{"empty comment", "SELECT 1 /**/", NULL},
	{"nested comment", "SELECT 1 /* /*action='a'*/ */", NULL},
	{"nested comment, then one", "SELECT 1 /* /* x */ */ /*action='a'*/", "a"},
	{"nested inside a value", "SELECT 1 /*action='a/*b*/c'*/", "a/*b*/c"},
	{"comment that does not end", "SELECT 1 /*action='a'", NULL},
	{"outer comment does not end", "SELECT 1 /* /*action='a'*/", NULL},
	{"slash and star overlap", "SELECT 1 /*/action='a'*/", NULL},

	/* Literals that look like one */
	{"literal", "SELECT '/*action=''a''*/'", NULL},
	{"literal, open quote inside", "SELECT '/*action='", NULL},
	{"literal that ends like one", "SELECT ' /*action=a*/", NULL},
	{"one behind a literal", "SELECT '/*' /*action='a'*/", "a"},
	{"standard strings", "SELECT '\\' /*action='a'*/", "a"},
	{"escape string", "SELECT E'\\' /*action=\\'a\\'*/'", NULL},
	{"one behind an escape string", "SELECT e'\\'' /*action='a'*/", "a"},
	{"doubled quote in an escape string",
	"SELECT E'''\\' /*action=\\'a\\'*/'", NULL},
	{"continued escape string",
	"SELECT E'a' -- x\n '\\' /*action=\\'a\\'*/'", NULL},
	{"not continued on the same line", "SELECT E'a' '\\' /*action='a'*/", "a"},
	{"name that ends in e", "SELECT type'\\' /*action='a'*/", "a"},
	{"name that ends in e after a dollar",
	"SELECT a$e'\\' /*action='a'*/", "a"},
	{"unicode string", "SELECT U&'\\' /*action='a'*/", "a"},
	{"bit string", "SELECT b'1' /*action='a'*/", "a"},
	{"name", "SELECT 1 AS \"/*action='a'*/", NULL},
	{"name with a quote", "SELECT 1 AS \"'\" /*action='a'*/", "a"},
	{"name with a doubled quote", "SELECT 1 AS \"\"\"/*\" /*action='a'*/", "a"},
	{"dollar quote", "SELECT $$ /*action='a'*/", NULL},
	{"one behind a dollar quote", "SELECT $$ /* ' $$ /*action='a'*/", "a"},
	{"tagged dollar quote", "SELECT $a$ $$ $b$ ' $a$ /*action='a'*/", "a"},
	{"tag with a number", "SELECT $a1$ $a$ ' $a1$ /*action='a'*/", "a"},
	{"tag that shares a dollar", "SELECT $a$ $b$a$ /*action='a'*/", "a"},
	{"parameter", "SELECT $1 /*action='a'*/", "a"},
	{"two parameters are no quote", "SELECT $1$2 /*action='a'*/", "a"},
	{"name with dollars", "SELECT a$b$ /*action='a'*/", "a"},
	{"line comment", "SELECT 1 -- /*action='a'*/", NULL},
	{"line comment with a quote", "SELECT 1 -- '\n/*action='a'*/", "a"},
	{"line comment ends at a return", "SELECT 1 -- '\r/*action='a'*/", "a"},
	{"minus is no comment", "SELECT 1 - - 1 /*action='a'*/", "a"},

	/* The grammar */
	{"other keys around", "/*a='1',action='x',z='2'*/ SELECT 1", "x"},
	{"white space", "/* a = '1' ,\n\taction = 'x' */ SELECT 1", "x"},
	{"empty value", "/*action=''*/", ""},
	{"other key", "/*xaction='a',actionx='b',Action='c'*/", NULL},
	{"encoded key", "/*%61ctio%6E='a'*/", "a"},
	{"no quotes", "/*action=a*/", NULL},
	{"double quotes", "/*action=\"a\"*/", NULL},
	{"doubled quote", "/*action='a''b'*/", NULL},
	{"colon", "/*action:a*/", NULL},
	{"text before", "/*see action='a'*/", NULL},
	{"text behind", "/*action='a' see*/", NULL},
	{"comma behind", "/*action='a',*/", NULL},
	{"comma before", "/*,action='a'*/", NULL},
	{"no comma", "/*a='1' action='a'*/", NULL},
	{"semicolon", "/*action='a';b='c'*/", NULL},
	{"key without value", "/*action='a',b*/", NULL},
	{"value without key", "/*='a',action='a'*/", NULL},
	{"value does not end", "/*action='a*/", NULL},
	{"wrong after the key", "/*action='a',b=c*/", NULL},

	/* Decoding */
	{"percent", "/*action='%2Fparam%20first'*/", "/param first"},
	{"percent, lower case", "/*action='%2fa'*/", "/a"},
	{"percent, four bytes", "/*action='%F0%9F%98%80'*/", "\xF0\x9F\x98\x80"},
	{"percent alone", "/*action='100%'*/", "100%"},
	{"percent and one digit", "/*action='%4'*/", "%4"},
	{"percent and no digits", "/*action='%zz%%41'*/", "%zz%A"},
	{"plus is a plus", "/*action='a+b'*/", "a+b"},
	{"not decoded twice", "/*action='%2541'*/", "%41"},
	{"escaped quote", "/*action='FOO%20\\'BAR'*/", "FOO 'BAR"},
	{"encoded quote", "/*action='%27'*/", "'"},
	{"escaped backslash", "/*action='\\\\'*/", "\\"},
	{"other backslash", "/*action='a\\b'*/", "a\\b"},
	{"backslash before the end", "/*action='a\\'*/", NULL},
	{"encoded comma and equals", "/*action='a%2Cb%3D%27c%27'*/", "a,b='c'"},
	{"encoded zero byte", "/*action='a%00b'*/", NULL},
	{"encoded zero byte elsewhere", "/*action='a',b='%00'*/", NULL},
	{"bytes that are no text", "/*action='\xFF\xC0'*/", "\xFF\xC0"},
};

static int	number = 0;
static int	failed = 0;

static void
ok(bool passed, const char *kind, const char *name)
{
	printf("%sok %d - %s: %s\n", passed ? "" : "not ", ++number, kind, name);
	if (!passed)
		failed++;
}

/* The decoded value of a key, if a comment of the statement has it */
static bool
find_value(const char *query, int len, const char *key, char *dst, int size)
{
	FobsCommentValue value = {.key = key};

	if (!fobs_sqlcommenter_find(query, len, &value, 1) ||
		value.start == NULL)
		return false;
	fobs_sqlcommenter_decode(&value, dst, size);
	return true;
}

/*
 * Reads the value from a copy of exactly the right length, so that a
 * sanitizer sees a byte read too many.
 */
static bool
read_value(const char *query, char *dst, int size)
{
	int			len = strlen(query);
	char	   *copy = malloc(len + 1);
	bool		found;

	if (copy == NULL)
		abort();
	memcpy(copy, query, len);
	found = find_value(copy, len, "action", dst, size);
	free(copy);
	return found;
}

static void
check_value(const Case *c)
{
	char		dst[64] = "untouched";
	bool		found = read_value(c->query, dst, sizeof(dst));

	if (c->value)
		ok(found && strcmp(dst, c->value) == 0, "value", c->name);
	else
		ok(!found && strcmp(dst, "untouched") == 0, "value", c->name);
}

static void
check_sizes(void)
{
	char		dst[8];
	const char *query = "SELECT 1 /*action='abc%64ef'*/";

	memset(dst, 'X', sizeof(dst));
	ok(read_value(query, dst, 1) && dst[0] == '\0' && dst[1] == 'X',
	   "size", "one byte holds nothing");
	memset(dst, 'X', sizeof(dst));
	ok(read_value(query, dst, 5) && strcmp(dst, "abcd") == 0 && dst[5] == 'X',
	   "size", "what fits is there");
	ok(read_value(query, dst, 7) && strcmp(dst, "abcdef") == 0,
	   "size", "exact fit");
}

static void
check_length(void)
{
	const char *query = "SELECT 1 /*action='a'*/ /*action='b'*/";
	char		dst[8];

	ok(find_value(query, 23, "action", dst, sizeof(dst)) &&
	   strcmp(dst, "a") == 0, "length", "nothing behind it is read");
}

static void
check_present(const char *query, bool expected)
{
	int			len = strlen(query);

	ok(fobs_sqlcommenter_present(query, len) == expected, "present", query);
	ok(!expected || fobs_sqlcommenter_possible(query, len), "possible", query);
}

static void
check_only_comments(const char *name, const char *text, bool expected)
{
	ok(fobs_sqlcommenter_only_comments(text, strlen(text)) == expected,
	   "only comments", name);
}

int
main(void)
{
	int			ncases = sizeof(cases) / sizeof(cases[0]);

	for (int i = 0; i < ncases; i++)
		check_value(&cases[i]);
	check_sizes();
	check_length();

	check_present("SELECT 1", false);
	check_present("", false);
	check_present("; ; ", false);
	check_present("/*/", false);
	check_present("SELECT 1 /*a*/", true);
	check_present("SELECT 1 /*a*/ ; ", true);
	check_present("/*a*/ SELECT 1", true);
	check_present(" ;/*a*/ SELECT 1", true);
	check_present(";/*a*/ SELECT a", true);
	check_present("SELECT /*a*/ 1", false);
	check_present("SELECT '*/'", false);

	ok(!fobs_sqlcommenter_possible("SELECT a", 8), "possible", "SELECT a");
	ok(!fobs_sqlcommenter_possible("", 0), "possible", "empty");

	check_only_comments("nothing", "", true);
	check_only_comments("of every kind", " ; -- x\n/* /* y */ */;", true);
	check_only_comments("and a word", "/* x */ a", false);
	check_only_comments("that do not end", "/* /* x */", false);
	check_only_comments("in a literal", "'/* x */'", false);

	printf("1..%d\n", number);
	return failed > 0;
}
