/*-------------------------------------------------------------------------
 *
 * accept.c
 *	  What a client of the HTTP endpoint can read.
 *
 * Accept and Accept-Encoding of RFC 9110: elements between commas, each a name
 * with parameters between semicolons, of which q is how much it is liked,
 * from 0 to 1 in at most three decimals.  A value may be quoted.  What has
 * another form is as if it was not there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <strings.h>

#include "accept.h"

#define OPENMETRICS		"application/openmetrics-text"

/* The q of what is not mentioned, and of what is without saying how much */
#define Q_NONE			(-1)
#define Q_MAX			1000

/* Part of a text */
typedef struct Slice
{
	const char *start;
	size_t		len;
} Slice;

static bool
is_space(char c)
{
	return c == ' ' || c == '\t';
}

/*
 * Cuts off what is before the next separator that is not quoted, without the
 * blanks around it.  False at the end.
 */
static bool
next_part(Slice *rest, char separator, Slice *part)
{
	bool		quoted = false;
	size_t		len = 0;

	if (rest->start == NULL)
		return false;
	while (len < rest->len && (quoted || rest->start[len] != separator))
	{
		if (rest->start[len] == '"')
			quoted = !quoted;
		else if (quoted && rest->start[len] == '\\' && len + 1 < rest->len)
			len++;
		len++;
	}
	*part = (Slice)
	{
		rest->start, len
	};
	if (len == rest->len)
		rest->start = NULL;
	else
	{
		rest->start += len + 1;
		rest->len -= len + 1;
	}
	while (part->len > 0 && is_space(part->start[0]))
	{
		part->start++;
		part->len--;
	}
	while (part->len > 0 && is_space(part->start[part->len - 1]))
		part->len--;
	return true;
}

static bool
is(Slice slice, const char *text)
{
	return slice.len == strlen(text) &&
		strncasecmp(slice.start, text, slice.len) == 0;
}

/* Thousandths of a weight; Q_NONE if it is none */
static int
parse_q(Slice value)
{
	int			q = 0;
	int			unit = Q_MAX;

	if (value.len == 0 || value.len > 5 ||
		(value.start[0] != '0' && value.start[0] != '1') ||
		(value.len > 1 && value.start[1] != '.'))
		return Q_NONE;
	for (size_t i = 0; i < value.len; i++)
	{
		if (i == 1)
			continue;
		if (value.start[i] < '0' || value.start[i] > '9')
			return Q_NONE;
		q += (value.start[i] - '0') * unit;
		unit /= 10;
	}
	return q <= Q_MAX ? q : Q_NONE;
}

/* Takes the quotes away that a value may have. */
static Slice
unquoted(Slice value)
{
	if (value.len >= 2 && value.start[0] == '"' &&
		value.start[value.len - 1] == '"')
	{
		value.start++;
		value.len -= 2;
	}
	return value;
}

/*
 * Reads the parameters of an element.  Returns its q; version is that of the
 * format, empty if none is said.
 */
static int
read_parameters(Slice rest, Slice *version)
{
	Slice		parameter;
	int			q = Q_MAX;

	version->len = 0;
	while (next_part(&rest, ';', &parameter))
	{
		Slice		value = parameter;
		Slice		name;

		(void) next_part(&value, '=', &name);
		if (value.start == NULL)
			continue;
		if (is(name, "q"))
			q = parse_q(value);
		else if (is(name, "version"))
			*version = unquoted(value);
	}
	return q;
}

/* Splits an element into its name and what follows. */
static Slice
name_of(Slice element, Slice *parameters)
{
	Slice		name;

	*parameters = element;
	(void) next_part(parameters, ';', &name);
	return name;
}

/*
 * Is OpenMetrics 1.0.0 liked at least as well as Prometheus' text format?  Who
 * does not name it is not given it.
 */
bool
fobs_accept_openmetrics(const char *accept)
{
	Slice		rest = {accept, strlen(accept)};
	Slice		element;
	int			openmetrics = Q_NONE;
	int			plain = Q_NONE;
	int			text = Q_NONE;
	int			any = Q_NONE;

	while (next_part(&rest, ',', &element))
	{
		Slice		parameters;
		Slice		name = name_of(element, &parameters);
		Slice		version;
		int			q = read_parameters(parameters, &version);
		int		   *best;

		if (is(name, OPENMETRICS) &&
			(version.len == 0 || is(version, "1.0.0")))
			best = &openmetrics;
		else if (is(name, "text/plain") &&
				 (version.len == 0 || is(version, "0.0.4")))
			best = &plain;
		else if (is(name, "text/*"))
			best = &text;
		else if (is(name, "*/*"))
			best = &any;
		else
			continue;
		if (q > *best)
			*best = q;
	}

	/* what is said of the type counts, not what is said of more than it */
	if (plain == Q_NONE)
		plain = text != Q_NONE ? text : any;
	return openmetrics > 0 && openmetrics >= plain;
}

/* May an answer be compressed by gzip? */
bool
fobs_accept_gzip(const char *accept_encoding)
{
	Slice		rest = {accept_encoding, strlen(accept_encoding)};
	Slice		element;
	int			gzip = Q_NONE;
	int			any = Q_NONE;

	while (next_part(&rest, ',', &element))
	{
		Slice		parameters;
		Slice		name = name_of(element, &parameters);
		Slice		version;
		int			q = read_parameters(parameters, &version);

		if (is(name, "gzip") || is(name, "x-gzip"))
			gzip = q;
		else if (is(name, "*"))
			any = q;
	}
	return gzip != Q_NONE ? gzip > 0 : any > 0;
}
