# Weir. `make help` lists what there is; `make run` starts everything, `make test` proves it.
#
# libshared/**/*.c → libweir.a; services/<name>/*.c → weir-<name>; services/worker/transcode/*.c → weir-transcode, the
# only one that gets libav*. The queue's Lua scripts are built into libweir, the web pages into weir-play and weir-api.
# Everything lands in build/$(VARIANT)/, the release binaries in build/bin/.

VERSION ?= 0.1.0
VARIANT ?= release
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 120
JOBS ?= $(shell nproc)
ifeq ($(origin CC),default)
CC := gcc
endif
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules
# V=1 shows the commands
Q := $(if $(V),,@)

# ---- what is built how
B := build/$(VARIANT)
BIN := $(if $(filter release,$(VARIANT)),build/bin,$B/bin)
LUA_C := build/gen/queue_scripts.c
WEB_C := build/gen/web_files.c
PAGE_C := build/gen/page_files.c
API_C := build/gen/api_files.c

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wvla -Wundef -Wformat=2 -Wstrict-prototypes \
  -Wmissing-prototypes -Wpointer-arith -Wcast-qual -Wwrite-strings -Wnull-dereference -Wimplicit-fallthrough
HARDEN := -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection -fPIE
HARDEN_LINK := -pie -Wl,-z,relro,-z,now,-z,noexecstack
CFLAGS_asan := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
CFLAGS_tsan := -O1 -fno-omit-frame-pointer -fsanitize=thread
CFLAGS_fuzz := $(CFLAGS_asan) -fsanitize=fuzzer-no-link
CFLAGS_coverage := -O0 --coverage
LDFLAGS_coverage := --coverage

CPPFLAGS += -D_GNU_SOURCE -DWEIR_VERSION='"$(VERSION)"' -Ilibshared
CFLAGS += -std=c11 -g -pthread $(WARNINGS) $(WERROR) $(or $(CFLAGS_$(VARIANT)),$(HARDEN))
LDFLAGS += -pthread -Wl,--as-needed $(if $(CFLAGS_$(VARIANT)),$(filter -fsanitize=%,$(CFLAGS_$(VARIANT))),$(HARDEN_LINK)) \
  $(LDFLAGS_$(VARIANT))
LIBS = $(shell pkg-config --libs hiredis libcurl expat jansson libcrypto libisal zlib) -lcivetweb -lhttp_parser -lm
LIBAV = $(shell pkg-config --libs libavformat libavfilter libavcodec libswscale libswresample libavutil libseccomp)
CHECK = $(shell pkg-config --libs check)

# ---- what there is
LUA := $(wildcard libshared/domain/queue/*.lua)
LUA_LIB := $(wildcard libshared/domain/queue/lib/*.lua)
SHARED := $(sort $(shell find libshared -name '*.c')) $(if $(LUA),$(LUA_C))
FOLDER_api := services/api
FOLDER_worker := services/worker
FOLDER_play := services/play
FOLDER_transcode := services/worker/transcode
GENERATED_play := $(WEB_C)
GENERATED_api := $(API_C) $(PAGE_C)
WEB := $(sort $(shell find web -name node_modules -prune -o -type f -print 2>/dev/null))
SERVICES := $(foreach s,api worker play transcode,$(if $(wildcard $(FOLDER_$s)/main.c),$s))
BENCH := $(wildcard bench/*.c)
UNIT := $(sort $(shell find tests/unit -name 'test_*.c'))
UNIT_HELPERS := $(sort $(shell find tests/unit -name '*.c' ! -name 'test_*.c'))
FUZZ := $(patsubst tests/fuzz/fuzz_%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
C_FILES := $(sort $(shell find libshared services bench tests \( -name node_modules \) -prune -o -name '*.[ch]' -print 2>/dev/null))
SHELL_FILES := $(shell grep -lsE '^\#!.*\b(ba)?sh\b' scripts/* .ci/* bench/* infra/* infra/*/* tests/* tests/*/*)

PROGRAMS := $(SERVICES:%=$(BIN)/weir-%) $(if $(BENCH),$(BIN)/weir-bench)
UNIT_BINS := $(UNIT:tests/unit/%.c=$B/unit/%)
objects = $(patsubst %.c,$B/obj/%.o,$1)

all: $(PROGRAMS) ## build every program into build/bin

$B/obj/%.o: %.c Makefile
	@mkdir -p $(@D) && echo "cc   $@"
	$Q$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

%.a:
	@mkdir -p $(@D) && rm -f $@
	$Qar rcs $@ $^

$(LUA_C): scripts/embed-lua $(LUA) $(LUA_LIB)
	@mkdir -p $(@D) && echo "lua  $@"
	$Qscripts/embed-lua $(LUA) > $@
$(call objects,$(LUA_C)): CFLAGS += -Wno-overlength-strings

web/node_modules/.package-lock.json: web/package-lock.json
	cd web && npm ci --no-audit --no-fund && touch node_modules/.package-lock.json
build/web/.built: web/node_modules/.package-lock.json $(WEB)
	cd web && npm run build
	@touch $@
$(WEB_C): scripts/embed-files build/web/.built
	@mkdir -p $(@D) && echo "web  $@"
	$Qscripts/embed-files web_files build/web/watch $$(find build/web/watch -type f | LC_ALL=C sort) > $@
$(PAGE_C): scripts/embed-files build/web/.built
	@mkdir -p $(@D) && echo "web  $@"
	$Qscripts/embed-files page_files build/web/upload $$(find build/web/upload -type f | LC_ALL=C sort) > $@
$(API_C): scripts/embed-files services/api/openapi.json
	@mkdir -p $(@D) && echo "api  $@"
	$Qscripts/embed-files api_files services/api services/api/openapi.json > $@

$B/libweir.a: $(call objects,$(SHARED))
$B/libtest.a: $(call objects,$(UNIT_HELPERS))

# A service is its main and an archive of the rest, which the unit tests of the service link too.
define service
$B/lib$1.a: $(call objects,$(filter-out %/main.c,$(wildcard $(FOLDER_$1)/*.c)) $(GENERATED_$1))
$(BIN)/weir-$1: $B/obj/$(FOLDER_$1)/main.o $B/lib$1.a $B/libweir.a
endef
$(foreach s,api worker play transcode,$(eval $(call service,$s)))
$(BIN)/weir-bench: $(call objects,$(BENCH)) $B/libweir.a
$(BIN)/weir-transcode: LIBS += $(LIBAV)

$(BIN)/weir-%:
	@mkdir -p $(@D) && echo "link $@"
	$Q$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

# tests/unit/<folder of libshared or service>/test_<module>.c. The service's archive comes before libweir.
.SECONDEXPANSION:
$B/obj/tests/%.o: CPPFLAGS += -I. -Itests/unit
$B/unit/transcode/%: LIBS += $(LIBAV)
$B/unit/%: $B/obj/tests/unit/%.o $B/libtest.a $$(if $$(FOLDER_$$(*D)),$B/lib$$(*D).a) $B/libweir.a
	@mkdir -p $(@D) && echo "link $@"
	$Q$(CC) $(LDFLAGS) -o $@ $^ $(CHECK) $(LIBS)

$B/bin/fuzz_%: $B/obj/tests/fuzz/fuzz_%.o $B/libworker.a $B/libtranscode.a $B/libapi.a $B/libplay.a $B/libweir.a
	@mkdir -p $(@D) && echo "link $@"
	$Q$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LIBS) $(LIBAV)

-include $(shell find $B/obj -name '*.d' 2>/dev/null)

# ---- running and testing
setup: ## install what is missing on this machine
	scripts/setup

web: build/web/.built ## bundle the web pages into build/web

run: ## start Redis, a directory store and the three services (Ctrl-C ends them)
	scripts/setup run
	$(MAKE) -j$(JOBS) all
	scripts/run

check: $(UNIT_BINS) ## unit tests
	scripts/run-unit-tests $(filter-out $(WITHOUT),$(UNIT_BINS))

check-asan: ## unit tests with the address and undefined-behaviour sanitizers
	$(MAKE) VARIANT=asan check
check-tsan: ## unit tests with the thread sanitizer
	TSAN_OPTIONS=halt_on_error=1 WRAP="$$(setarch -R echo setarch -R 2>/dev/null)" $(MAKE) VARIANT=tsan check
check-valgrind: ## unit tests under valgrind
	CK_FORK=no WRAP='valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite' \
	  $(MAKE) check \
	  WITHOUT=build/release/unit/transcode/test_sandbox # valgrind can't live in it

test: ## everything that proves the product: unit, integration and browser tests
	scripts/setup test
	$(MAKE) -j$(JOBS) all check
	scripts/test

fuzz: ## run each fuzz target for FUZZ_SECONDS
	$(MAKE) -j$(JOBS) --output-sync=target VARIANT=fuzz CC=clang $(FUZZ:%=fuzz-%)
fuzz-%: $B/bin/fuzz_%
	@mkdir -p build/fuzz/corpus/$* build/fuzz/findings
	$Qif [ -d tests/fuzz/corpus/$* ]; then cp -n tests/fuzz/corpus/$*/* build/fuzz/corpus/$*/; fi
	$Q$< -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1 \
	  -artifact_prefix=build/fuzz/findings/$*- build/fuzz/corpus/$* > build/fuzz/$*.log 2>&1 || \
	  { tail -n 80 build/fuzz/$*.log; exit 1; }
	@echo "ok    $*: $$(sed -n 's/.*number_of_executed_units: *//p' build/fuzz/$*.log) runs"

coverage: ## unit tests with line coverage, report in build/coverage/html
	$(MAKE) VARIANT=coverage check
	lcov -q --capture --no-external -b . -d build/coverage -o build/coverage/all.info
	lcov -q --remove build/coverage/all.info '*/tests/*' -o build/coverage/lcov.info
	genhtml -q -o build/coverage/html build/coverage/lcov.info
	lcov --list build/coverage/lcov.info

bench: all ## measure against the peers, side by side
	bench/run

# ---- lint
lint: ## warnings of two compilers, clang-tidy, format, layers, bans, settings, shell and Lua
	$(MAKE) -j$(JOBS) VARIANT=gcc CC=gcc WERROR=-Werror objects
	$(MAKE) -j$(JOBS) VARIANT=clang CC=clang WERROR=-Werror objects
	clang-format --dry-run --Werror $(C_FILES)
	scripts/check-layers && scripts/check-banned && scripts/check-settings
	shellcheck $(SHELL_FILES)
	for script in $(LUA); do cat $(LUA_LIB) $$script | luac5.1 -p - || exit 1; done
	printf '%s\n' $(filter %.c,$(C_FILES)) | \
	  xargs -n 1 -P $(JOBS) sh -c 'clang-tidy --quiet "$$@" -- -D_GNU_SOURCE -DWEIR_VERSION=\"$(VERSION)\" -Ilibshared -I. -Itests/unit -std=c11' tidy

objects: $(call objects,$(filter %.c,$(C_FILES)) $(if $(LUA),$(LUA_C)) $(GENERATED_play) $(GENERATED_api))

format: ## bring every C file into the house format
	clang-format -i $(C_FILES)

# ---- the rest
install: all ## install below PREFIX (and DESTDIR)
	install -d $(DESTDIR)$(PREFIX)/bin
	install $(SERVICES:%=$(BIN)/weir-%) $(DESTDIR)$(PREFIX)/bin

clean: ## remove build/
	rm -rf build

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' Makefile

.PHONY: all setup web run check check-asan check-tsan check-valgrind test fuzz coverage bench lint objects format \
  install clean help
