/*-------------------------------------------------------------------------
 *
 * tracecontext.c
 *	  W3C Trace Context: pure text in, identifiers out, and the way back.
 *
 * The rules are those of https://www.w3.org/TR/trace-context-1/ and of the
 * random flag of https://www.w3.org/TR/trace-context-2/; keys of tracestate
 * are those of level 2, which are all of level 1 and some more.
 *
 *		traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
 *		tracestate: rojo=00f067aa0ba902b7,congo=t61rcWkgMzE
 *
 * A text that breaks a rule is ignored as a whole; there is nothing between
 * right and wrong.  Where the specification leaves a choice:
 *	- of a tracestate that is invalid in one place nothing is passed on;
 *	- of several members with a key the first is passed on, which is the latest
 *	  (level 2 leaves it to who sends them that there is only one);
 *	- list members that are empty do not count among the 32;
 *	- a tracestate longer than 512 characters is cut by whole members, first
 *	  those of more than 128 characters, then those at its end.
 *
 * Nothing here allocates, raises an error or knows the server: the text may
 * have any bytes, need not be valid in any encoding, and is not modified.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "tracecontext.h"

#define VERSION_CHARS		2
#define TRACE_ID_CHARS		32
#define PARENT_ID_CHARS		16
#define FLAGS_CHARS			2

#define MAX_KEY_CHARS		256
#define MAX_VALUE_CHARS		256

/* Members longer than this are the first to be cut */
#define LONG_MEMBER_CHARS	128

/* One key=value of a tracestate, in the text that it was read from */
typedef struct Member
{
	const char *start;
	size_t		len;
	size_t		key_len;
} Member;

typedef struct MemberList
{
	int			n;
	size_t		len;			/* of all, with the commas between them */
	Member		members[FOBS_TRACESTATE_MEMBERS];
} MemberList;

/* Optional white space, as HTTP has it */
static inline bool
is_space(char c)
{
	return c == ' ' || c == '\t';
}

static void
trim(const char **start, const char **end)
{
	while (*start < *end && is_space(**start))
		(*start)++;
	while (*start < *end && is_space((*end)[-1]))
		(*end)--;
}

/* Upper case is not allowed. */
static inline int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static inline char
lower(char c)
{
	return c >= 'A' && c <= 'F' ? (char) (c - 'A' + 'a') : c;
}

/* Reads so many bytes, two digits each; false if there is anything else. */
static bool
read_hex(const char *text, uint8_t *bytes, int size)
{
	for (int i = 0; i < size; i++)
	{
		int			high = hex_digit(text[2 * i]);
		int			low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		bytes[i] = (uint8_t) (high * 16 + low);
	}
	return true;
}

static bool
is_zero(const uint8_t *bytes, int size)
{
	for (int i = 0; i < size; i++)
	{
		if (bytes[i] != 0)
			return false;
	}
	return true;
}

/*
 * fobs_traceparent_parse
 *		Reads a traceparent of len bytes, which need not end in a zero.
 *
 * White space around it is not part of it.  That of a version to come may be
 * longer, if a dash follows what we know.  If the text is not valid, returns
 * false and leaves "trace" alone.
 */
bool
fobs_traceparent_parse(const char *text, size_t len, FobsTrace *trace)
{
	const char *end = text + len;
	const char *trace_id;
	const char *parent_id;
	const char *flags;
	const char *rest;
	uint8_t		version;
	FobsTrace	parsed;

	trim(&text, &end);
	if (end - text < FOBS_TRACEPARENT_SIZE - 1)
		return false;
	trace_id = text + VERSION_CHARS + 1;
	parent_id = trace_id + TRACE_ID_CHARS + 1;
	flags = parent_id + PARENT_ID_CHARS + 1;
	rest = flags + FLAGS_CHARS;

	if (trace_id[-1] != '-' || parent_id[-1] != '-' || flags[-1] != '-' ||
		!read_hex(text, &version, 1) ||
		!read_hex(trace_id, parsed.trace_id, sizeof(parsed.trace_id)) ||
		!read_hex(parent_id, parsed.parent_id, sizeof(parsed.parent_id)) ||
		!read_hex(flags, &parsed.flags, 1))
		return false;
	if (version == 0xff || (rest < end && (version == 0 || *rest != '-')))
		return false;
	if (is_zero(parsed.trace_id, sizeof(parsed.trace_id)) ||
		is_zero(parsed.parent_id, sizeof(parsed.parent_id)))
		return false;

	parsed.flags &= FOBS_TRACE_SAMPLED | FOBS_TRACE_RANDOM;
	*trace = parsed;
	return true;
}

/* Is the text a trace id as it stands in a traceparent? */
bool
fobs_trace_id_is_plain(const char *text)
{
	uint8_t		trace_id[FOBS_TRACE_ID_BYTES];

	return strlen(text) == TRACE_ID_CHARS &&
		read_hex(text, trace_id, sizeof(trace_id)) &&
		!is_zero(trace_id, sizeof(trace_id));
}

/*
 * Reads a trace id as others write them: also in capitals, as a UUID, or with
 * 16 digits, which are the last of ours.  False if it is none of these.
 */
bool
fobs_trace_id_parse(const char *text, uint8_t *trace_id)
{
	size_t		len = strlen(text);
	bool		is_uuid = len == TRACE_ID_CHARS + 4;
	char		digits[TRACE_ID_CHARS];
	int			n = 0;

	if (len == TRACE_ID_CHARS / 2)
	{
		memset(digits, '0', TRACE_ID_CHARS / 2);
		n = TRACE_ID_CHARS / 2;
	}
	else if (len != TRACE_ID_CHARS && !is_uuid)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		if (!is_uuid || (i != 8 && i != 13 && i != 18 && i != 23))
			digits[n++] = lower(text[i]);
		else if (text[i] != '-')
			return false;
	}
	return read_hex(digits, trace_id, TRACE_ID_CHARS / 2) &&
		!is_zero(trace_id, TRACE_ID_CHARS / 2);
}

/* Writes an identifier of so many bytes, two digits each, and a zero. */
void
fobs_trace_format_id(const uint8_t *id, int size, char *text)
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < size; i++)
	{
		*text++ = digits[id[i] >> 4];
		*text++ = digits[id[i] & 0x0f];
	}
	*text = '\0';
}

/* Writes a traceparent into FOBS_TRACEPARENT_SIZE bytes. */
void
fobs_traceparent_format(const FobsTrace *trace, char *text)
{
	static const uint8_t version = 0;

	fobs_trace_format_id(&version, 1, text);
	text += VERSION_CHARS;
	*text++ = '-';
	fobs_trace_format_id(trace->trace_id, sizeof(trace->trace_id), text);
	text += TRACE_ID_CHARS;
	*text++ = '-';
	fobs_trace_format_id(trace->parent_id, sizeof(trace->parent_id), text);
	text += PARENT_ID_CHARS;
	*text++ = '-';
	fobs_trace_format_id(&trace->flags, 1, text);
}

/*
 * Whether a trace that starts here is sampled at a rate of 0 to 1.  All who
 * ask with the same rate get the same answer: it is in the last 56 bits of
 * the trace id, which are those that are random, and compared as
 * OpenTelemetry's consistent samplers do.
 */
bool
fobs_trace_sampled_by_rate(const uint8_t *trace_id, double rate)
{
	const uint64_t range = UINT64_C(1) << 56;
	uint64_t	value = 0;

	if (rate >= 1.0)
		return true;
	for (int i = 9; i < 16; i++)
		value = value << 8 | trace_id[i];
	return value >= range - (uint64_t) (rate * (double) range);
}

static inline bool
is_key_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static inline bool
is_key_char(char c)
{
	return is_key_start(c) || c == '_' || c == '-' || c == '*' || c == '/' ||
		c == '@';
}

static inline bool
is_value_char(char c)
{
	return c >= 0x20 && c <= 0x7e && c != ',' && c != '=';
}

/* Reads a member without white space around it; false if it is not valid. */
static bool
read_member(const char *start, const char *end, Member *member)
{
	const char *p = start;

	if (!is_key_start(*p))
		return false;
	while (p < end && is_key_char(*p))
		p++;
	member->key_len = p - start;
	if (member->key_len > MAX_KEY_CHARS || p == end || *p++ != '=' ||
		p == end || end - p > MAX_VALUE_CHARS)
		return false;
	while (p < end && is_value_char(*p))
		p++;
	member->start = start;
	member->len = end - start;
	return p == end;
}

static bool
has_key(const Member *member, const char *key, size_t key_len)
{
	return member->key_len == key_len &&
		memcmp(member->start, key, key_len) == 0;
}

static bool
list_has_key(const MemberList *list, const Member *member)
{
	for (int i = 0; i < list->n; i++)
	{
		if (has_key(&list->members[i], member->start, member->key_len))
			return true;
	}
	return false;
}

/* Reads all members; false if the text is not a valid tracestate. */
static bool
read_members(const char *text, size_t len, MemberList *list)
{
	const char *end = text + len;
	int			seen = 0;

	list->n = 0;
	list->len = 0;
	for (;;)
	{
		const char *comma = memchr(text, ',', end - text);
		const char *next = comma != NULL ? comma : end;
		const char *start = text;
		Member		member;

		text = next;
		trim(&start, &next);
		if (start < next)
		{
			if (seen++ == FOBS_TRACESTATE_MEMBERS ||
				!read_member(start, next, &member))
				return false;
			if (!list_has_key(list, &member))
			{
				list->len += member.len + (list->n > 0);
				list->members[list->n++] = member;
			}
		}
		if (comma == NULL)
			return true;
		text++;
	}
}

static void
remove_member(MemberList *list, int i)
{
	list->len -= list->members[i].len + (list->n > 1);
	list->n--;
	memmove(&list->members[i], &list->members[i + 1],
			(list->n - i) * sizeof(Member));
}

/* Removes members until the rest has at most so many characters. */
static void
cut_members(MemberList *list, size_t max)
{
	for (int i = list->n - 1; i >= 0 && list->len > max; i--)
	{
		if (list->members[i].len > LONG_MEMBER_CHARS)
			remove_member(list, i);
	}
	while (list->len > max)
		remove_member(list, list->n - 1);
}

static void
write_members(const MemberList *list, char *text)
{
	for (int i = 0; i < list->n; i++)
	{
		if (i > 0)
			*text++ = ',';
		memcpy(text, list->members[i].start, list->members[i].len);
		text += list->members[i].len;
	}
	*text = '\0';
}

/*
 * fobs_tracestate_normalize
 *		Makes a tracestate of len bytes what is to be passed on.
 *
 * Stores it in FOBS_TRACESTATE_SIZE bytes, without empty members and white
 * space between members.  If the text is not valid, returns false and stores
 * ''.  Several lines of a header are one text, with commas between them.
 */
bool
fobs_tracestate_normalize(const char *text, size_t len, char *state)
{
	MemberList	list;

	state[0] = '\0';
	if (!read_members(text, len, &list))
		return false;
	cut_members(&list, FOBS_TRACESTATE_SIZE - 1);
	write_members(&list, state);
	return true;
}

/*
 * Finds the value of a key in a normalized tracestate; stores it in
 * FOBS_TRACESTATE_VALUE_SIZE bytes if it is there.
 */
bool
fobs_tracestate_value(const char *state, const char *key, char *value)
{
	size_t		key_len = strlen(key);
	MemberList	list;

	if (!read_members(state, strlen(state), &list))
		return false;
	for (int i = 0; i < list.n; i++)
	{
		const Member *member = &list.members[i];
		size_t		value_len = member->len - key_len - 1;

		if (has_key(member, key, key_len))
		{
			memcpy(value, member->start + key_len + 1, value_len);
			value[value_len] = '\0';
			return true;
		}
	}
	return false;
}

/*
 * Puts a member, which must be valid and fit, in front of a normalized
 * tracestate, in place of one with its key.  What has no room any more is cut.
 */
void
fobs_tracestate_put(char *state, const char *key, const char *value)
{
	char		old[FOBS_TRACESTATE_SIZE];
	size_t		len = strlen(key) + 1 + strlen(value);
	MemberList	list;

	memcpy(old, state, strlen(state) + 1);
	if (!read_members(old, strlen(old), &list))
		list.n = 0;
	for (int i = list.n - 1; i >= 0; i--)
	{
		if (has_key(&list.members[i], key, strlen(key)))
			remove_member(&list, i);
	}
	if (list.n == FOBS_TRACESTATE_MEMBERS)
		remove_member(&list, list.n - 1);
	cut_members(&list, FOBS_TRACESTATE_SIZE - 2 - len);

	memcpy(state, key, strlen(key));
	state[strlen(key)] = '=';
	memcpy(state + strlen(key) + 1, value, strlen(value));
	if (list.n > 0)
		state[len++] = ',';
	write_members(&list, state + len);
}

/*
 * Percent-encodes text in UTF-8 so that it is a valid value, in
 * FOBS_TRACESTATE_VALUE_SIZE bytes.  What has no room is cut, at the boundary
 * of a character.
 */
void
fobs_tracestate_encode(const char *text, char *value)
{
	static const char digits[] = "0123456789ABCDEF";
	const char *value_end = value + FOBS_TRACESTATE_VALUE_SIZE - 1;
	char	   *character = value;

	for (; *text != '\0'; text++)
	{
		uint8_t		byte = (uint8_t) *text;
		bool		is_plain = is_value_char(*text) && *text != ' ' &&
		*text != '%';

		if ((byte & 0xc0) != 0x80)
			character = value;
		if (value_end - value < (is_plain ? 1 : 3))
		{
			value = character;
			break;
		}
		if (is_plain)
			*value++ = *text;
		else
		{
			*value++ = '%';
			*value++ = digits[byte >> 4];
			*value++ = digits[byte & 0x0f];
		}
	}
	*value = '\0';
}

/*
 * The way back, into the same room, as far as the text is printable ASCII:
 * what is not stays encoded, and may go where only such text may.
 */
void
fobs_tracestate_decode(const char *value, char *text)
{
	while (*value != '\0')
	{
		int			high = -1;
		int			low = -1;

		if (value[0] == '%' && value[1] != '\0')
		{
			high = hex_digit(lower(value[1]));
			low = hex_digit(lower(value[2]));
		}
		if (high >= 2 && high <= 7 && low >= 0 && high * 16 + low != 0x7f)
		{
			*text++ = (char) (high * 16 + low);
			value += 3;
		}
		else
			*text++ = *value++;
	}
	*text = '\0';
}
