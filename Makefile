# syncstate: build, installation and tests
#
#	make && make install			build and install, by pg_config
#	make installcheck				regression and isolation tests on a running server
#	make installcheck PROVE_TESTS='test/t/*.pl'		... and those that need servers of their own
#	make test						everything, in throwaway clusters; installs what is missing
#	make matrix MAJORS='17 18'		the same on other versions, in chroots; all without MAJORS
#	make test-upgrade PAIRS=15-17	pg_upgrade and dumps from one version to another; all without PAIRS
#	make test-docs					what the pages in doc/ have readers copy; needs npm
#	make test-packages				a Debian package and an archive for PGXN, and what is in them
#	make test-image					the Dockerfile, carried out in a chroot
#	make test-jcs					hashes of documents against a library from npm
#	make test-example				the example application, in a browser too; packages from npm
#	make coverage					what of the C the tests execute; pages in coverage/
#	make soak PARTS=feed			long tests, and checks of memory; without PARTS, all
#	make mutation MUTANTS=feed	mistakes made on purpose, and which tests notice; without MUTANTS, all
#	make demo, make demo-shell		a real synchronisation; the same and psql
#	make bench SECTIONS=digest		against what people write by hand; without SECTIONS, all of it
#	make format, make format-check	layout of the C files
#
# PG=17 chooses one of several versions which Debian's packages installed.

MODULE_big = syncstate
OBJS = \
	src/admin.o \
	src/args.o \
	src/canonical.o \
	src/cursor.o \
	src/decide.o \
	src/delta.o \
	src/diff.o \
	src/digest.o \
	src/direct.o \
	src/feed.o \
	src/hash.o \
	src/hash_avx2.o \
	src/import.o \
	src/input.o \
	src/lookup.o \
	src/mark.o \
	src/notify.o \
	src/observe.o \
	src/pack.o \
	src/partial.o \
	src/pending.o \
	src/plans.o \
	src/prefetch.o \
	src/resolve.o \
	src/run.o \
	src/sketch.o \
	src/source.o \
	src/state.o \
	src/syncstate.o \
	src/touch.o \
	src/track.o \
	src/tracking.o \
	src/update.o

EXTENSION = syncstate
DATA = $(wildcard sql/syncstate--*.sql)

# The library is told the version of the control file.
SYNCSTATE_VERSION := $(shell sed -n "s/^default_version *= *'\([^']*\)'.*/\1/p" syncstate.control)

PG_CPPFLAGS += -DSYNCSTATE_VERSION='"$(SYNCSTATE_VERSION)"'
# PostgreSQL's own headers and function signatures trip over the last two.
PG_CFLAGS += -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare

# Calls from file to file are direct, as nothing of ours is for others to replace.
# From PostgreSQL 16 on PGXS hides what is not exported, which comes to the same;
# can go with support for 15.
on_linux_15 = $(if $(filter linux-15,$(PORTNAME)-$(MAJORVERSION)),$(1))
PG_CFLAGS += $(call on_linux_15,-fno-semantic-interposition)
SHLIB_LINK += $(call on_linux_15,-Wl$(comma)-Bsymbolic-functions)
comma = ,

# Hashing rows is all loops; and xxHash asks for it.
LOOPS_CFLAGS ?= -O3
src/hash.o src/hash_avx2.o src/pack.o src/sketch.o: CFLAGS += $(LOOPS_CFLAGS)

REGRESS = $(sort $(patsubst test/sql/%.sql,%,$(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=$(srcdir)/test

ISOLATION = $(sort $(patsubst test/isolation/specs/%.spec,%,$(wildcard test/isolation/specs/*.spec)))
ISOLATION_OPTS = --inputdir=$(srcdir)/test/isolation

ifdef PROVE_TESTS
TAP_TESTS = 1
endif

# pg_regress would rather run a script of that name in sql/ than the test, and
# from PostgreSQL 16 on a spec is compared with expected/ before its own answer.
misnamed := \
	$(filter $(patsubst sql/%.sql,%,$(wildcard sql/*.sql)),$(REGRESS)) \
	$(filter $(REGRESS) $(patsubst expected/%.out,%,$(wildcard expected/*.out)),$(ISOLATION))
ifneq ($(strip $(misnamed)),)
$(error test with the name of a script in sql/ or of another test: $(strip $(misnamed)))
endif

ifdef PG
PG_CONFIG = /usr/lib/postgresql/$(PG)/bin/pg_config
else
PG_CONFIG ?= pg_config
endif
PGXS := $(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null))

ifneq ($(PGXS),)
include $(PGXS)

# All see syncstate.h, and syncstate.o the version.
$(OBJS) $(OBJS:.o=.bc): $(wildcard src/*.h) syncstate.control Makefile
else
# What follows below installs the server first and needs no PGXS for that.
all install installcheck clean:
	@echo >&2 "$(PG_CONFIG) does not lead to PGXS: is postgresql-server-dev installed?"
	@exit 1
.PHONY: all install installcheck clean
.DEFAULT_GOAL := all
endif

test:
	@PG='$(PG)' script/setup build test
	@PG='$(PG)' script/sandbox script/suites

matrix:
	@script/matrix $(MAJORS)

test-upgrade:
	@script/upgrade $(PAIRS)

DOCS = clients api monitoring
test-docs:
	@PG='$(PG)' script/setup build $(DOCS)
	@npm_config_cache="$$(script/npm-cache)" PG='$(PG)' script/sandbox script/suites $(DOCS)

test-packages:
	@PG='$(PG)' script/setup build packages
	@PG='$(PG)' script/sandbox script/suites packages

test-image:
	@test/packages/image $(PG)

test-jcs:
	@PG='$(PG)' script/setup build jcs
	@PG='$(PG)' script/sandbox test/jcs/run

# SCREENSHOT=1 replaces the picture of its page.
test-example:
	@PG='$(PG)' script/setup build example
	@npm_config_cache="$$(script/npm-cache)" PG='$(PG)' \
		script/sandbox $(if $(SCREENSHOT),-k doc/deployment-page.png) script/suites example

# SUITES='pgtap lint' counts what these execute, and checks nothing.
coverage:
	@PG='$(PG)' script/setup build test coverage
	@PG='$(PG)' script/coverage $(SUITES)

PARTS = feed sketch diff tracking input sqlsmith histories linearisable deadlock crash cancel disk valgrind ubsan cassert discard
soak:
	@PG='$(PG)' script/setup build test $(filter sqlsmith valgrind,$(PARTS))
	@SERVER_WITH_ASSERTIONS="$(if $(filter cassert discard,$(PARTS)),$$(PG='$(PG)' script/server-with-assertions))" \
		PG='$(PG)' script/sandbox script/suites $(addprefix soak-,$(PARTS))

mutation:
	@PG='$(PG)' script/setup build test
	@PG='$(PG)' script/sandbox test/mutation/mutate.py $(MUTANTS)

demo:
	@PG='$(PG)' script/setup build demo
	@PG='$(PG)' script/sandbox demo/run.py

demo-shell:
	@PG='$(PG)' script/setup build demo
	@PG='$(PG)' script/sandbox demo/run.py --shell

# ROWS makes all of it smaller in proportion; DOC=1 writes doc/performance.md too.
# Memory and checkpoints as set here keep the disk out of it.
ROWS = 5000000
CHECKPOINTS = 1000000
SHARED_BUFFERS = 4GB
bench:
	@PG='$(PG)' script/setup build bench
	@PG='$(PG)' script/sandbox -k test/bench/results $(if $(DOC),-k doc/performance.md) \
		-o shared_buffers=$(SHARED_BUFFERS) -o max_wal_size=16GB -o checkpoint_timeout=1h \
		-o wal_level=minimal -o max_wal_senders=0 -o autovacuum=off -o jit=off \
		test/bench/bench.py --rows $(ROWS) --checkpoints $(CHECKPOINTS) $(if $(DOC),--doc) \
		--revision "$$(git describe --always --dirty 2>/dev/null)" $(SECTIONS)

format:
	@script/setup format
	@script/format $(wildcard src/*.c src/*.h test/model/*.c)

format-check:
	@script/setup format
	@script/format --check $(wildcard src/*.c src/*.h test/model/*.c)

.PHONY: test matrix test-upgrade test-docs test-packages test-image test-jcs test-example coverage soak mutation demo demo-shell bench format format-check
