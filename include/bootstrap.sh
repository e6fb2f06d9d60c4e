#!/usr/bin/env bash
# Makes .venv from nothing: a bare Debian 12 machine with Python 3.11, pip and apt is enough.
# Run again, it only does what is missing. Everything it downloads for itself lands below .lab/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

UV_VERSION=0.13.9
stamp=.venv/.relight-requirements
wanted="$(cat requirements.txt tests/requirements.txt pyproject.toml | sha256sum | cut -d' ' -f1)"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    exit 0
fi

say() { printf 'setup: %s\n' "$*"; }

python=""
for candidate in python3.11 python3.12 python3; do
    if command -v "$candidate" >/dev/null && "$candidate" -c \
        'import sys; raise SystemExit(not ((3, 11) <= sys.version_info[:2] <= (3, 12)))' 2>/dev/null; then
        python="$(command -v "$candidate")"
        break
    fi
done
if [ -z "$python" ]; then
    say "Python 3.11 or 3.12 is needed and was not found: apt-get install python3" >&2
    exit 1
fi

# The MySQL client library that Airflow's MySQL provider uses (mysqlclient) is compiled on install.
missing=()
command -v cc >/dev/null || missing+=(build-essential)
command -v pkg-config >/dev/null || missing+=(pkg-config)
if ! { pkg-config --exists mysqlclient || pkg-config --exists mariadb || pkg-config --exists libmariadb; } 2>/dev/null; then
    missing+=(default-libmysqlclient-dev)
fi
"$python" -c 'import sysconfig, pathlib; raise SystemExit(not (pathlib.Path(sysconfig.get_path("include")) / "Python.h").exists())' \
    || missing+=(python3-dev)
if [ "${#missing[@]}" -gt 0 ]; then
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi
    say "these Debian packages are missing and will be installed with apt-get: ${missing[*]}"
    "${as_root[@]}" apt-get update -q >/dev/null
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" >/dev/null
fi

tools=.lab/tools
if [ ! -x "$tools/bin/uv" ] || ! "$tools/bin/uv" --version | grep -q " $UV_VERSION "; then
    say "uv $UV_VERSION"
    mkdir -p "$tools"
    "$python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --upgrade --target "$tools" "uv==$UV_VERSION"
fi

say "installing the pinned requirements into .venv"
[ -x .venv/bin/python ] || "$tools/bin/uv" venv --quiet --python "$python" .venv
# Byte code is compiled here, once: where PYTHONDONTWRITEBYTECODE is set, every Airflow process
# would otherwise compile Airflow for itself, which turns a start of 25 s into minutes.
"$tools/bin/uv" pip install --quiet --python .venv/bin/python --compile-bytecode -r tests/requirements.txt
"$tools/bin/uv" pip install --quiet --python .venv/bin/python --no-deps --editable .
printf '%s\n' "$wanted" >"$stamp"
