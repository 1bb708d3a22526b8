# The doors for people. `make` alone lists them. Recipes only name a script: what they do is in tools/.

PREFIX ?= /usr/local
DESTDIR ?=
SYSTEMD_UNITS ?= /lib/systemd/system

.DEFAULT_GOAL := help
.PHONY: help run stop test check bench dev build install uninstall clean setup

help: ## list these doors
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

run: ## install what is missing, build, start wirtd and a guest called demo
	@tools/run.sh

stop: ## stop the guest demo and the wirtd of this clone
	@tools/stop.sh

test: ## every test but lab, e2e and bench; the last line counts them (TIERS="unit functional" for some)
	@tools/setup.sh --test
	@tools/node tools/test.ts $(TIERS)

check: ## format, lint, types, layers, unit tests, API document; no root, under a minute
	@tools/setup.sh --npm
	@tools/node tools/check.ts

bench: ## the figures of SPECIFICATION.md, measured side by side
	@tools/setup.sh --test
	@tools/node tools/build.ts
	@tools/node tests/bench/main.ts $(BENCH)

dev: ## run wirtd from the sources, restarted on every change, with readable logs
	@tools/setup.sh
	@tools/node tools/dev.ts

build: setup ## bundle the sources into dist/
	@tools/node tools/build.ts

setup: ## install the Debian and npm packages that are missing
	@tools/setup.sh

install: ## put wirt, wirtd and the systemd unit in place (PREFIX=/usr/local, DESTDIR=)
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' SYSTEMD_UNITS='$(SYSTEMD_UNITS)' tools/install.sh install

uninstall: ## take away what make install put in place; guests and their data stay
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' SYSTEMD_UNITS='$(SYSTEMD_UNITS)' tools/install.sh uninstall

clean: ## remove what the build made
	@rm -rf dist coverage node_modules/.cache
