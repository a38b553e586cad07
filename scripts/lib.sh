# Shared by scripts/run and scripts/test: progress, packages, build folder. Sourced, not run.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build="$root/build"
. "$root/scripts/packages"

# Debian's own tools, whatever else is first on the caller's path: the packages above bring what these need.
export PATH="/usr/bin:/bin:/usr/sbin:/sbin:$PATH"
meson=/usr/bin/meson
ninja=/usr/bin/ninja

step_number=0
steps_total=0
started_at=$(date +%s)

# step TEXT: the next numbered line of progress.
step() {
    step_number=$((step_number + 1))
    printf '[%d/%d] %s\n' "$step_number" "$steps_total" "$*"
}

elapsed() { echo $(($(date +%s) - started_at)); }

# die SENTENCE... : each argument a line; what went wrong, then what to do.
die() {
    printf '\nFAILED: %s\n' "$1" >&2
    shift
    [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
    exit 1
}

# show_log FILE [LINES]: the end of a log, indented, for the reader of a failure.
show_log() {
    [ -s "$1" ] || return 0
    printf -- '--- last lines of %s\n' "$1" >&2
    tail -n "${2:-20}" "$1" | sed 's/^/    /' >&2
}

# missing_packages NAME... : those that are neither installed nor provided by one that is.
missing_packages() {
    local name there
    there=$(dpkg-query -W -f='${db:Status-Status}, ${Package}, ${Provides}\n' | sed -n 's/^installed, //p' |
        tr -d ' ' | tr ',' '\n' | sed 's/(.*//')
    for name in "$@"; do
        grep -qxF -- "$name" <<<"$there" || echo "$name"
    done
}

# install_packages NAME... : installs only what is missing; nothing is downloaded when nothing is.
install_packages() {
    command -v dpkg-query >/dev/null || die "this script installs Debian packages, and this is not a Debian system." \
        "Use Debian 12, or the Dockerfile: docker build -t msad ."
    local missing as_root=()
    read -r -d '' -a missing <<<"$(missing_packages "$@")" || true # -d '': all lines, and read then ends with 1
    if [ ${#missing[@]} -eq 0 ]; then
        echo "      all packages are there"
        return
    fi
    echo "      missing: ${missing[*]}"
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "packages are missing, and you are neither root nor have sudo." \
            "Ask an administrator to run: apt-get install --no-install-recommends ${missing[*]}"
        as_root=(sudo)
        [ -t 0 ] || as_root=(sudo -n)
    fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q </dev/null ||
        die "apt-get update failed." "Check the network and /etc/apt/sources.list, then run this again."
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" \
        </dev/null || die "apt-get could not install: ${missing[*]}" "Read its lines above; Debian 12 (bookworm) has them all."
}

# configure_build: the build folder, made once.
configure_build() {
    local log="$root/run/meson-setup.log"
    [ -f "$build/build.ninja" ] && return
    mkdir -p "$root/run"
    "$meson" setup "$build" "$root" --buildtype=release >"$log" 2>&1 || {
        show_log "$log" 30
        die "meson could not configure the build." \
            "If build/ comes from another machine or another compiler, remove it and run this again: rm -rf build"
    }
}

# build_targets TARGET...: ninja with its own progress lines.
build_targets() {
    configure_build
    "$ninja" -C "$build" "$@" || die "the build failed; the compiler's message is above." \
        "If the sources are unchanged, remove the build folder and run this again: rm -rf build"
}
