# SPDX-License-Identifier: GPL-2.0
# Front end of the harness; "make help" lists the targets.

PYTHON ?= python3
HARNESS := PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -m harness
opt = $(if $($(1)),$(2))
LINUX_OPT = $(call opt,LINUX,--linux "$(LINUX)")

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help demo check scenario soak shell series series-boot tree kernel kernel-base \
	kernel-debug kernel-host kernel-kho kernel-kcsan refresh static unit bench \
	fresh fresh-clean clean

help:
	@echo 'Targets:'
	@echo '  demo          one live update, shown from both sides'
	@echo '  check         all tests; the last line is "N passed, N failed, N skipped"'
	@echo '                DEBUG=1  more of the scenarios on the debug kernels (KASAN, lockdep)'
	@echo '                MINUTES=n  skip what could not end within this time'
	@echo '                ANEW=1   take nothing from stamps: judge and build all again,'
	@echo '                         as with static and series'
	@echo '  scenario      S=name  run one scenario; without S list the names'
	@echo '                KERNEL=kcsan  on this kernel, instead of both a and b'
	@echo '  soak          N=1000  so many updates in a row; they take hours'
	@echo '  shell         an interactive guest on kernel A'
	@echo '  series        mail-ready patches and their proof -> build/series/'
	@echo '  series-boot   link and boot the kernel after each patch; takes hours'
	@echo '                FIRST=n  begin with this patch'
	@echo '  tree          base + series + overlay -> build/tree'
	@echo '                FORCE=1  drop edits made in build/tree'
	@echo '  kernel        -> build/bzImage-a, build/bzImage-b'
	@echo '                KEEP=1   build with edits made in build/tree'
	@echo '  bench         what an update costs, in virtual time -> build/bench.json'
	@echo '  refresh       carry edits made in build/tree back to overlay and series/'
	@echo '                PATCH=NNNN-name  the patch for files that no patch has yet'
	@echo '  fresh         SUITE=bookworm|trixie|testing  demo and check in a minimal system'
	@echo '                of that suite, as on a new machine; takes hours, needs root'
	@echo '                TARGETS="scenario S=name"  these, BASE=1  with the base of the'
	@echo '                cache, MINUTES=n  for each, KEEP=1  keep the system,'
	@echo '                AGAIN=1  in the system that was kept'
	@echo '  fresh-clean   remove the systems that were kept'
	@echo '  clean         remove build/ (the cache stays)'
	@echo
	@echo 'Parts of these: kernel-base (the unpatched base), kernel-debug, kernel-host'
	@echo '(for large machines), kernel-kho (with upstream'"'"'s KHO test), kernel-kcsan'
	@echo '(reports data races), static (the static gates), unit (tests of the harness).'
	@echo
	@echo 'Variables: JOBS=compilers at once, PARTIAL=1 for a series in the making'
	@echo '(overlay files and options that no patch has yet are left out), and'
	@echo 'LINUX=tree, tarball or repository#tag to use as base. Without it the base'
	@echo 'is in the cache or imported; harness/source/base.py says what is tried.'
	@echo 'The cache is $${XDG_CACHE_HOME:-~/.cache}/liveupdate-orchestrator.'

demo:
	@$(HARNESS) deps
	@$(HARNESS) kernel $(LINUX_OPT) a b
	@$(HARNESS).demo

check:
	@$(HARNESS) check $(LINUX_OPT) $(call opt,DEBUG,--debug) \
		$(call opt,MINUTES,--minutes "$(MINUTES)")

scenario:
ifdef S
	@$(HARNESS) deps
	@$(HARNESS) kernel $(LINUX_OPT) a b base kho host
	@$(HARNESS).scenario $(call opt,KERNEL,--kernel $(KERNEL)) $(S)
else
	@$(HARNESS).scenario --list
endif

soak:
	@$(HARNESS) deps
	@$(HARNESS) kernel $(LINUX_OPT) a b
	@N=$(or $(N),1000) $(HARNESS).scenario soak

shell:
	@$(HARNESS) deps
	@$(HARNESS) kernel $(LINUX_OPT) a b
	@$(HARNESS).shell

series:
	@$(HARNESS) series $(LINUX_OPT)

series-boot:
	@$(HARNESS) deps
	@$(HARNESS) steps $(LINUX_OPT) $(call opt,FIRST,--first "$(FIRST)")

tree:
	@$(HARNESS) tree $(LINUX_OPT) $(call opt,FORCE,--force)

kernel:
	@$(HARNESS) kernel $(LINUX_OPT) $(call opt,KEEP,--keep) a b

kernel-base kernel-host kernel-kho kernel-kcsan:
	@$(HARNESS) kernel $(LINUX_OPT) $(call opt,KEEP,--keep) $(@:kernel-%=%)

kernel-debug:
	@$(HARNESS) kernel $(LINUX_OPT) $(call opt,KEEP,--keep) debug debug-b

refresh:
	@$(HARNESS) refresh $(call opt,PATCH,--patch "$(PATCH)")

static:
	@$(HARNESS) static

unit:
	@$(HARNESS) unit

bench:
	@$(HARNESS) deps
	@$(HARNESS) kernel $(LINUX_OPT) bench many base
	@$(HARNESS).bench

fresh:
	@$(HARNESS) fresh "$(SUITE)" $(call opt,TARGETS,--targets "$(TARGETS)") \
		$(call opt,AGAIN,--again) $(call opt,BASE,--base) $(call opt,KEEP,--keep) \
		$(call opt,MINUTES,--minutes "$(MINUTES)")

fresh-clean:
	@$(HARNESS) fresh --clean

clean:
	@$(HARNESS) clean
