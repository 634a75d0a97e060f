# make run       build, and take mail on 127.0.0.1:2525 into var/mail (conf/dev.toml)
# make test      all tests that need nothing but this folder
# make interop   tests with real programs from Debian (installed when absent), and the long crash test
# make bench     benchmarks: the parts, and everything against Postfix
# make lint      ruff, mypy --strict, cython-lint
# make fmt       format the sources
# make docs      write what is generated from the configuration structs
# make clean     remove everything that was built

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXTENSIONS := $(wildcard mta/*.pyx mta/*.pxd mta/*.h mta/*/*.pyx mta/*/*.h)
PEERS := postfix swaks libnet-ssleay-perl dovecot-core dovecot-lmtpd openssl curl
# Exim's package and Postfix's exclude each other, the others' would start them at each boot, and postfix-lmdb's would
# change the configuration of Postfix. So these are only unpacked; the libraries are those that they need.
UNPACKED := exim4-daemon-light haproxy unbound nsd postfix-lmdb liblmdb0 postgresql-15 slapd
PEERS += redis-tools ldnsutils libevent-2.1-7 libfstrm0 libnghttp2-14 libprotobuf-c1 libpython3.11
PEERS += libicu72 libpq5 libwrap0 libxml2 libxslt1.1 libargon2-1 libltdl7 libsasl2-2 tzdata
PEERS += libnss-wrapper libdb5.3 libgnutls-dane0 libidn12 libnsl2 libpcre2-8-0 liblua5.3-0 libopentracing-c-wrapper0

.PHONY: run test interop bench lint fmt docs clean build peers packages

run: build
	$(BIN)/mta run -c conf/dev.toml

test: build
	$(BIN)/python -m pytest

interop: build peers
	$(BIN)/python -m pytest -m interop

bench: build packages
	$(BIN)/python -m pytest bench --benchmark-only
	$(BIN)/python bench/vs_postfix.py

lint: build
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PATH="$(abspath $(BIN)):$$PATH" cython-lint mta

fmt: build
	$(BIN)/ruff check --fix --exit-zero --quiet .
	$(BIN)/ruff format .

docs: build
	$(BIN)/python -m mta.config_doc

clean:
	rm -rf $(VENV) .peers var build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find mta bench tests -name __pycache__ -prune -exec rm -rf {} +
	find mta \( -name '*.so' -o -name '*.html' \) -delete
	$(foreach source,$(wildcard mta/*.pyx mta/*/*.pyx),rm -f $(source:.pyx=.c);)

build: $(VENV)/built

# Editable: the sources run from this folder, the extension modules are built into it.
$(VENV)/built: pyproject.toml setup.py $(EXTENSIONS)
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "Python 3.11 to 3.13 is needed (make PYTHON=...)" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test,lint]'
	touch $@

# Real programs to talk to. Their own services are neither configured nor started.
peers: packages .peers/unpacked

packages:
	@missing=$$(for name in $(PEERS); do \
		dpkg-query -W -f '$${Status}' $$name 2>/dev/null | grep -q 'ok installed' || echo $$name; done); \
	test -z "$$missing" && exit 0; \
	command -v apt-get >/dev/null || { echo "Debian packages are needed:" $$missing >&2; exit 1; }; \
	if test "$$(id -u)" = 0; then sudo=; \
	elif command -v sudo >/dev/null; then sudo=sudo; \
	else echo "root or sudo is needed to install:" $$missing >&2; exit 1; fi; \
	echo "installing:" $$missing; \
	echo "postfix postfix/main_mailer_type select No configuration" | $$sudo debconf-set-selections; \
	$$sudo apt-get update -qq && \
	$$sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -qq -y --no-install-recommends $$missing

.peers/unpacked: Makefile | packages
	@command -v apt-get >/dev/null || { echo "make interop needs Debian packages: $(UNPACKED)" >&2; exit 1; }
	rm -rf .peers
	mkdir .peers
	cd .peers && apt-get download -qq $(UNPACKED) || { \
		if test "$$(id -u)" = 0; then sudo=; else sudo=sudo; fi; \
		$$sudo apt-get update -qq && apt-get download -qq $(UNPACKED); }
	for package in .peers/*.deb; do dpkg -x $$package .peers || exit 1; done
	chmod u-s .peers/usr/sbin/exim4
	touch $@
