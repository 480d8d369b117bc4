EXTENSION = fraiseql_obs
MODULE_big = fraiseql_obs
PGFILEDESC = "fraiseql_obs - observability inside the database"

# Where the source is: here, or where this file is if make runs elsewhere
SOURCE := $(or $(VPATH),$(patsubst %/,%,$(dir $(firstword $(MAKEFILE_LIST)))))
ifneq ($(SOURCE),.)
$(shell mkdir -p src/http src/otlp sql)
endif

OBJS = \
	$(WIN32RES) \
	src/app_labels.o \
	src/app_metrics.o \
	src/app_refs.o \
	src/app_series.o \
	src/audit_actor_days.o \
	src/audit_capture.o \
	src/audit_chain.o \
	src/audit_counts.o \
	src/audit_databases.o \
	src/audit_document.o \
	src/audit_door.o \
	src/audit_drain.o \
	src/audit_encoding.o \
	src/audit_extension.o \
	src/audit_guard.o \
	src/audit_launcher.o \
	src/audit_leaves.o \
	src/audit_log.o \
	src/audit_metrics.o \
	src/audit_partition.o \
	src/audit_payload.o \
	src/audit_process.o \
	src/audit_query.o \
	src/audit_ring.o \
	src/audit_seal.o \
	src/audit_sign.o \
	src/audit_tables.o \
	src/audit_upkeep.o \
	src/audit_verified.o \
	src/audit_verify.o \
	src/audit_worker.o \
	src/caches.o \
	src/canary.o \
	src/collector.o \
	src/conditions.o \
	src/context.o \
	src/counters.o \
	src/endpoint.o \
	src/errors.o \
	src/exemplars.o \
	src/exposition.o \
	src/fraiseql_obs.o \
	src/guc.o \
	src/health.o \
	src/health_facts.o \
	src/histogram.o \
	src/hooks.o \
	src/http_requests.o \
	src/jsonb_text.o \
	src/label.o \
	src/merkle.o \
	src/metrics.o \
	src/operations.o \
	src/otlp_batch.o \
	src/otlp_json.o \
	src/otlp_sender.o \
	src/pools.o \
	src/probes.o \
	src/queries.o \
	src/query_metrics.o \
	src/query_texts.o \
	src/reset.o \
	src/series.o \
	src/server_activity.o \
	src/server_backends.o \
	src/server_databases.o \
	src/server_health.o \
	src/server_horizons.o \
	src/server_locks.o \
	src/server_replication.o \
	src/server_settings.o \
	src/server_slots.o \
	src/server_statistics.o \
	src/server_wal.o \
	src/sha256.o \
	src/slowlog.o \
	src/spans.o \
	src/sqlcommenter.o \
	src/statistics.o \
	src/trace.o \
	src/tracecontext.o \
	src/tracing.o \
	src/worker_module.o

# META.json has the release; the control file's is that of the SQL.
RELEASE = $(shell sed -n 's/^  *"version": "\([0-9.]*\)".*/\1/p' $(SOURCE)/META.json | head -n 1)
PG_CPPFLAGS = -DFRAISEQL_OBS_VERSION='"$(RELEASE)"'

# What PostgreSQL 16 and later do for all extensions: only what the server
# calls is visible, so that our own calls and variables are direct (those of a
# header if it says so).  Calls of the server do without the detour that would
# find it late.
PG_CPPFLAGS += -fvisibility=hidden -fno-plt \
	-DPGDLLEXPORT='__attribute__((visibility("default")))'

# What signs checkpoints is a module of its own, where OpenSSL is.  A server that
# was built with it has its SHA-256, which is several times as fast if it is not
# looked up for each hash.
ifeq ($(shell pkg-config --exists libcrypto 2>/dev/null && echo yes),yes)
MODULES += src/fraiseql_obs_sign
PG_CPPFLAGS += -DHAVE_LIBCRYPTO
override SHLIB_LINK += $(shell pkg-config --libs libcrypto)
src/fraiseql_obs_sign.so: override LDFLAGS_SL += $(shell pkg-config --libs libcrypto)
else
$(info fraiseql_obs_sign is left out: checkpoints are not signed without libcrypto (libssl-dev, pkg-config))
endif

# The HTTP endpoint is a module of its own, where libmicrohttpd is; it compresses
# where zlib is.
HTTP_OBJS = \
	src/http/accept.o \
	src/http/connection.o \
	src/http/disks.o \
	src/http/fraiseql_obs_http.o \
	src/http/listener.o \
	src/http/names.o \
	src/http/request.o \
	src/http/server.o \
	src/http/status_page.o \
	src/http/token.o
ifeq ($(shell pkg-config --exists libmicrohttpd 2>/dev/null && echo yes),yes)
MODULES += src/http/fraiseql_obs_http
HTTP_LIBS = libmicrohttpd
ifeq ($(shell pkg-config --exists zlib 2>/dev/null && echo yes),yes)
HTTP_LIBS += zlib
$(HTTP_OBJS): override CPPFLAGS += -DFRAISEQL_OBS_HAVE_ZLIB
endif
$(HTTP_OBJS) $(HTTP_OBJS:.o=.bc): override CPPFLAGS += -Isrc/http -I$(SOURCE)/src $(shell pkg-config --cflags $(HTTP_LIBS))
src/http/fraiseql_obs_http.so: override LDFLAGS_SL += $(shell pkg-config --libs $(HTTP_LIBS)) -pthread
else
$(info fraiseql_obs_http is left out: there is no HTTP endpoint without libmicrohttpd (libmicrohttpd-dev, pkg-config))
endif

# The sender of spans is a module of its own, where libcurl is; it compresses
# where zlib is.
OTLP_OBJS = \
	src/otlp/answer.o \
	src/otlp/fraiseql_obs_otlp.o \
	src/otlp/gzip.o \
	src/otlp/headers.o \
	src/otlp/resolver.o \
	src/otlp/sending.o \
	src/otlp/transport.o
ifeq ($(shell pkg-config --exists libcurl 2>/dev/null && echo yes),yes)
MODULES += src/otlp/fraiseql_obs_otlp
OTLP_LIBS = libcurl
ifeq ($(shell pkg-config --exists zlib 2>/dev/null && echo yes),yes)
OTLP_LIBS += zlib
$(OTLP_OBJS): override CPPFLAGS += -DFRAISEQL_OBS_HAVE_ZLIB
endif
$(OTLP_OBJS) $(OTLP_OBJS:.o=.bc): override CPPFLAGS += -I$(SOURCE)/src $(shell pkg-config --cflags $(OTLP_LIBS))
src/otlp/fraiseql_obs_otlp.so: override LDFLAGS_SL += $(shell pkg-config --libs $(OTLP_LIBS)) -pthread
else
$(info fraiseql_obs_otlp is left out: spans are not sent without libcurl (libcurl4-openssl-dev, pkg-config))
endif

# What these modules share
MODULE_OBJS = src/errand.o src/lookup.o src/secret_file.o
EXTRA_CLEAN = $(MODULE_OBJS) $(HTTP_OBJS) $(OTLP_OBJS) src/http/status_page.inc

# The install script of this release, put together of a part for each concept.
SQL_PARTS = header statistics app_metrics trace spans endpoint health audit_log audit_write audit_ring audit_capture audit_sources \
	audit_read audit_rollups audit_seals audit_verify audit_holds audit_retention audit_erasure \
	audit_integrity audit_report audit_report_forms audit_actors audit_analysis \
	audit_attach audit_privileges
DATA_built = sql/fraiseql_obs--1.0.sql

# The command line tool, and what verifies a dump
SCRIPTS = bin/fraiseql-obs bin/fraiseql-obs-verify
MAN_PAGES = man/fraiseql-obs.1 man/fraiseql-obs-verify.1
COMPLETION = completion/fraiseql-obs.bash

# Behaviour: test/sql.  Two sessions: test/specs.  Their golden output is in
# expected/.  Servers that restart, crash or stand by, and pgTAP: test/t.
REGRESS = \
	setup \
	app_metrics \
	audit_log \
	audit_capture \
	audit_capture_refused \
	audit_evidence \
	audit_guard \
	audit_privileges \
	audit_read \
	audit_report_forms \
	audit_ring \
	audit_sources \
	context_bounds \
	cursors \
	deferred \
	disabled \
	errors \
	exceptions \
	export_formats \
	extension \
	health \
	identity \
	masking \
	nested \
	operations \
	privileges \
	procedures \
	queryid \
	reset \
	slow_queries \
	spans \
	statements \
	times \
	trace_carriers \
	trace_context \
	utility \
	views

ISOLATION = \
	count_and_reset \
	evict_and_read

TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl

# The hooks need shared_preload_libraries, so each suite starts a server of
# its own with this configuration (PostgreSQL::Test::Cluster reads
# TEMP_CONFIG).
export TEMP_CONFIG = $(abspath $(SOURCE))/test/fraiseql_obs.conf
TEST_OPTS = --inputdir='$(SOURCE)/test' --outputdir=. --encoding=UTF8 --no-locale \
	--temp-config='$(TEMP_CONFIG)'
REGRESS_OPTS = $(TEST_OPTS) --temp-instance=tmp_check
ISOLATION_OPTS = $(TEST_OPTS) --temp-instance=tmp_check_iso

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# PGXS installs neither manual pages nor completion.
man1dir = $(mandir)/man1
completiondir = $(datadir)/bash-completion/completions
install: install-manual
install-manual:
	$(MKDIR_P) '$(DESTDIR)$(man1dir)' '$(DESTDIR)$(completiondir)'
	$(INSTALL_DATA) $(addprefix $(SOURCE)/, $(MAN_PAGES)) '$(DESTDIR)$(man1dir)/'
	$(INSTALL_DATA) $(SOURCE)/$(COMPLETION) '$(DESTDIR)$(completiondir)/fraiseql-obs'
uninstall: uninstall-manual
uninstall-manual:
	rm -f $(addprefix '$(DESTDIR)$(man1dir)'/, $(notdir $(MAN_PAGES))) '$(DESTDIR)$(completiondir)/fraiseql-obs'
.PHONY: install-manual uninstall-manual

sql/fraiseql_obs--1.0.sql: $(SQL_PARTS:%=sql/parts/%.sql)
	cat $^ > $@

# The bytes of the status page, for an array in C
src/http/status_page.inc: src/http/status_page.html
	od -A n -v -t x1 $< | sed 's/[0-9a-f][0-9a-f]/0x&,/g' >$@
src/http/status_page.o src/http/status_page.bc: src/http/status_page.inc

# PGXS would look for modules and scripts in the folders of their sources.
uninstall: uninstall-files
uninstall-files:
	rm -f $(addprefix '$(DESTDIR)$(pkglibdir)'/, $(addsuffix $(DLSUFFIX), $(notdir $(MODULES))))
	rm -f $(addprefix '$(DESTDIR)$(bindir)'/, $(notdir $(SCRIPTS)))
.PHONY: uninstall-files

# PGXS makes such a module of one object alone.
src/fraiseql_obs_sign.so: $(MODULE_OBJS)
src/http/fraiseql_obs_http.so: $(HTTP_OBJS) $(MODULE_OBJS)
src/otlp/fraiseql_obs_otlp.so: $(OTLP_OBJS) $(MODULE_OBJS)
$(addsuffix $(DLSUFFIX), $(MODULES)): %$(DLSUFFIX): %.o
	$(CC) $(CFLAGS) $^ $(LDFLAGS) $(LDFLAGS_SL) -shared -o $@

# PGXS does not track header dependencies.
$(OBJS) $(OBJS:.o=.bc) $(HTTP_OBJS) $(OTLP_OBJS): $(wildcard $(addprefix $(SOURCE)/, src/*.h src/http/*.h src/otlp/*.h))
