# Installing Debian packages: sourced by tests/run and tests/suites/run.

# Installs packages without starting any service of theirs.
install() {
    local policy=/usr/sbin/policy-rc.d mine='' status=0
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' > "$policy"
        chmod 755 "$policy"
        mine=yes
    fi
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null; } || status=$?
    [[ -z $mine ]] || rm -f "$policy"
    return "$status"
}

# Installs packages if the user may; else says which.
install_or_say() {
    if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
        echo "$0: programs are missing; as root: apt-get install $*" >&2
        exit 1
    fi
    install "$@"
}
