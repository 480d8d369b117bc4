/*-------------------------------------------------------------------------
 *
 * tracecontext_fuzz.c
 *	  libFuzzer harness of tracecontext.c.
 *
 *		clang -g -O1 -fsanitize=fuzzer,address,undefined -Itest/fuzz -Isrc \
 *			test/fuzz/tracecontext_fuzz.c src/tracecontext.c
 *
 * The first byte of an input says what the rest is: a traceparent or what
 * is to be changed of one that is valid, a tracestate or the members of one,
 * or an identifier.  Whatever it is, what is read stays in bounds; what is
 * taken for valid is so by a second reading of the specification, here; and
 * what is written is read again as the same.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <stdio.h>
#include <stdlib.h>

#include "tracecontext.h"

#define HOLDS(condition) \
	do { \
		if (!(condition)) \
		{ \
			fprintf(stderr, "does not hold: %s\n", #condition); \
			abort(); \
		} \
	} while (0)

#define KEY "fraiseql_obs"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Exactly as long as it is, so that one byte too many is seen */
static char *
copy(const char *data, size_t len)
{
	char	   *result = malloc(len + (len == 0));

	HOLDS(result);
	memcpy(result, data, len);
	return result;
}

/* A string of it, up to its first zero byte */
static char *
copy_string(const char *data, size_t len)
{
	char	   *result = malloc(len + 1);

	HOLDS(result);
	memcpy(result, data, len);
	result[len] = '\0';
	return result;
}

static bool
is_one_of(char c, const char *set)
{
	return c != '\0' && strchr(set, c) != NULL;
}

/* Without white space around it */
static size_t
trimmed(const char **data, size_t len)
{
	while (len > 0 && is_one_of(**data, " \t"))
	{
		(*data)++;
		len--;
	}
	while (len > 0 && is_one_of((*data)[len - 1], " \t"))
		len--;
	return len;
}

/* Section 3.2, character by character */
static bool
is_traceparent(const char *data, size_t len)
{
	static const char pattern[] =
	"xx-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-xx";
	static const char zeros[] = "00000000000000000000000000000000";

	len = trimmed(&data, len);
	if (len < 55)
		return false;
	for (int i = 0; i < 55; i++)
	{
		if (pattern[i] == 'x' ? !is_one_of(data[i], "0123456789abcdef") :
			data[i] != pattern[i])
			return false;
	}
	return memcmp(data, "ff", 2) != 0 && memcmp(data + 3, zeros, 32) != 0 &&
		memcmp(data + 36, zeros, 16) != 0 &&
		(len == 55 || (memcmp(data, "00", 2) != 0 && data[55] == '-'));
}

static void
check_traceparent(const char *data, size_t len)
{
	char	   *text = copy(data, len);
	char		written[FOBS_TRACEPARENT_SIZE];
	FobsTrace	trace = {{0}, {0}, 0xff};
	FobsTrace	again;
	bool		valid = fobs_traceparent_parse(text, len, &trace);

	HOLDS(valid == is_traceparent(text, len));
	HOLDS(valid == fobs_trace_is_set(&trace));
	HOLDS(valid || trace.flags == 0xff);
	if (valid)
	{
		const char *start = text;

		trimmed(&start, len);
		HOLDS(trace.flags <= (FOBS_TRACE_SAMPLED | FOBS_TRACE_RANDOM));
		fobs_traceparent_format(&trace, written);
		HOLDS(strlen(written) == FOBS_TRACEPARENT_SIZE - 1);
		HOLDS(memcmp(written, "00", 2) == 0);
		HOLDS(memcmp(written + 2, start + 2, 51) == 0);
		HOLDS(fobs_traceparent_parse(written, strlen(written), &again));
		HOLDS(memcmp(&trace, &again, sizeof(trace)) == 0);

		/* the lower the rate, the fewer are sampled */
		HOLDS(fobs_trace_sampled_by_rate(trace.trace_id, 1.0));
		HOLDS(!fobs_trace_sampled_by_rate(trace.trace_id, 0.0));
		for (double rate = 0; rate < 1; rate += 0.125)
			HOLDS(!fobs_trace_sampled_by_rate(trace.trace_id, rate) ||
				  fobs_trace_sampled_by_rate(trace.trace_id, rate + 0.125));
	}
	free(text);
}

/* A valid one of which up to four bytes are others */
static void
check_changed_traceparent(const char *data, size_t len)
{
	char		text[128] =
	"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03-more";
	size_t		text_len = strlen(text);

	if (len > 0)
		memcpy(text, &"0001ff"[(unsigned char) data[0] % 3 * 2], 2);
	if (len > 1)
		text_len = (unsigned char) data[1] % (text_len + 1);
	for (size_t i = 2; i + 1 < len && i < 10; i += 2)
		text[(unsigned char) data[i] % sizeof(text)] = data[i + 1];
	check_traceparent(text, text_len);
}

static bool
has_key(const char **keys, const size_t *key_lens, int n, const char *key,
		size_t key_len)
{
	for (int i = 0; i < n; i++)
	{
		if (key_lens[i] == key_len && memcmp(keys[i], key, key_len) == 0)
			return true;
	}
	return false;
}

/*
 * Section 3.3.1, with the keys of level 2: how many members with different
 * keys, -1 if invalid, and how many of them have more than 128 characters
 */
static int
count_members(const char *data, size_t len, int *n_long)
{
	static const char lower[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	const char *keys[FOBS_TRACESTATE_MEMBERS + 1];
	size_t		key_lens[FOBS_TRACESTATE_MEMBERS + 1];
	int			seen = 0;
	int			n = 0;

	*n_long = 0;
	for (size_t i = 0; i <= len; i++)
	{
		size_t		end = i;
		const char *member = data + i;
		const char *equals;
		size_t		member_len;
		size_t		key_len;

		while (end < len && data[end] != ',')
			end++;
		member_len = trimmed(&member, end - i);
		i = end;
		if (member_len == 0)
			continue;

		equals = memchr(member, '=', member_len);
		if (equals == NULL || seen++ == FOBS_TRACESTATE_MEMBERS)
			return -1;
		key_len = equals - member;
		if (key_len < 1 || key_len > 256 || !is_one_of(member[0], lower))
			return -1;
		for (size_t k = 0; k < key_len; k++)
		{
			if (!is_one_of(member[k], lower) && !is_one_of(member[k], "_-*/@"))
				return -1;
		}
		if (member_len - key_len - 1 < 1 || member_len - key_len - 1 > 256)
			return -1;
		for (const char *c = equals + 1; c < member + member_len; c++)
		{
			if (*c < ' ' || *c > '~' || *c == '=')
				return -1;
		}
		if (has_key(keys, key_lens, n, member, key_len))
			continue;
		*n_long += member_len > 128;
		keys[n] = member;
		key_lens[n++] = key_len;
	}
	return n;
}

/* Puts a member in front of a normalized tracestate. */
static void
check_put(const char *state, const char *value)
{
	char		changed[FOBS_TRACESTATE_SIZE];
	char		again[FOBS_TRACESTATE_SIZE];
	char		found[FOBS_TRACESTATE_VALUE_SIZE];

	memcpy(changed, state, strlen(state) + 1);
	fobs_tracestate_put(changed, KEY, value);
	HOLDS(fobs_tracestate_normalize(changed, strlen(changed), again));
	HOLDS(strcmp(changed, again) == 0);
	HOLDS(strncmp(changed, KEY "=", strlen(KEY "=")) == 0);
	HOLDS(fobs_tracestate_value(changed, KEY, found));
	HOLDS(strcmp(found, value) == 0);

	fobs_tracestate_put(changed, KEY, value);
	HOLDS(strcmp(changed, again) == 0);
}

static void
check_tracestate(const char *data, size_t len)
{
	char	   *text = copy(data, len);
	char		state[FOBS_TRACESTATE_SIZE];
	char		again[FOBS_TRACESTATE_SIZE];
	char		value[FOBS_TRACESTATE_VALUE_SIZE];
	int			n_long;
	int			members = count_members(text, len, &n_long);
	int			kept;
	int			kept_long;
	bool		valid;

	memset(state, 'X', sizeof(state));
	valid = fobs_tracestate_normalize(text, len, state);
	HOLDS(valid == (members >= 0));
	HOLDS(strlen(state) < FOBS_TRACESTATE_SIZE);
	HOLDS(valid || state[0] == '\0');
	kept = count_members(state, strlen(state), &kept_long);
	HOLDS(kept >= 0 && (kept <= members || !valid));
	HOLDS(!valid || len > FOBS_TRACESTATE_SIZE - 1 || kept == members);

	/* long ones go before others */
	HOLDS(!valid || kept_long == 0 || kept - kept_long == members - n_long);

	HOLDS(fobs_tracestate_normalize(state, strlen(state), again));
	HOLDS(strcmp(state, again) == 0);
	if (fobs_tracestate_value(state, "a", value))
		HOLDS(strlen(value) > 0);
	check_put(state, "x");
	free(text);
}

/* One of a member for each two bytes: its key and kind, and its length */
static void
check_made_tracestate(const char *data, size_t len)
{
	char		text[64 * 280];
	char	   *end = text;

	for (int i = 0; i + 1 < len && i < 128; i += 2)
	{
		unsigned char kind = data[i];
		int			size = (unsigned char) data[i + 1] + (kind % 8 == 7) * 2;

		if (i > 0)
			*end++ = ',';
		if (kind % 8 == 1)
			*end++ = ' ';
		if (kind % 8 == 2)
			continue;
		*end++ = (char) ('a' + kind / 32);
		*end++ = (char) ('a' + i / 2 % 26);
		*end++ = '=';
		memset(end, 'v', size);
		end += size;
	}
	check_tracestate(text, end - text);
}

/* An identifier, of any bytes */
static void
check_id(const char *data, size_t len)
{
	char	   *id = copy_string(data, len);
	char		value[FOBS_TRACESTATE_VALUE_SIZE];
	char		decoded[FOBS_TRACESTATE_VALUE_SIZE];
	char		text[FOBS_TRACE_ID_SIZE];
	uint8_t		trace_id[FOBS_TRACE_ID_BYTES];
	bool		printable = true;

	for (const char *c = id; *c != '\0'; c++)
		printable &= *c >= ' ' && *c <= '~';
	fobs_tracestate_encode(id, value);
	fobs_tracestate_decode(value, decoded);
	HOLDS(strlen(value) < FOBS_TRACESTATE_VALUE_SIZE);
	HOLDS(strlen(decoded) <= strlen(value));
	for (const char *c = decoded; *c != '\0'; c++)
		HOLDS(*c >= ' ' && *c <= '~');
	if (value[0] != '\0')
		check_put("a=1,b=2", value);
	if (strlen(id) <= 85)
		HOLDS(!printable || strcmp(decoded, id) == 0);
	else
		HOLDS(!printable || strncmp(decoded, id, strlen(decoded)) == 0);

	if (fobs_trace_id_parse(id, trace_id))
	{
		fobs_trace_format_id(trace_id, FOBS_TRACE_ID_BYTES, text);
		HOLDS(fobs_trace_id_is_plain(text));
		HOLDS(!fobs_trace_id_is_plain(id) || strcmp(text, id) == 0);
	}
	else
		HOLDS(!fobs_trace_id_is_plain(id));
	free(id);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const checks[]) (const char *, size_t) =
	{
		check_traceparent, check_changed_traceparent,
		check_tracestate, check_made_tracestate, check_id
	};

	if (size == 0)
		return -1;
	checks[data[0] % 5] ((const char *) data + 1, size - 1);
	return 0;
}
