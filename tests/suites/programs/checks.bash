# Sourced by the scripts of this directory: what they say of each case.

ok() { printf 'ok %s\n' "$1"; }
fail() { printf 'FAIL %s: %s\n' "$1" "${*:2}"; }

# same CASE WANTED GOT
same() {
    if [[ $2 == "$3" ]]; then ok "$1"; else fail "$1" "got '${3:0:200}', wanted '${2:0:200}'"; fi
}

# holds CASE COMMAND…
holds() {
    local status=0 words
    words=$("${@:2}" 2>&1 </dev/null) || status=$?
    if ((status == 0)); then ok "$1"; else fail "$1" "status $status, ${words:0:200}"; fi
}

# between CASE LEAST MOST NUMBER: the number may have a decimal part.
between() {
    if awk -v n="$4" -v least="$2" -v most="$3" 'BEGIN { exit !(n >= least && n <= most) }'; then
        ok "$1"
    else
        fail "$1" "$4 is not in $2…$3"
    fi
}

# until_holds COMMAND…: waits for up to 20 s until it succeeds.
until_holds() {
    local until=$((SECONDS + 20))
    while ((SECONDS < until)); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.05
    done
    return 1
}

# A port of 127.0.0.1 that nobody listens on.
free_port() {
    local port
    for ((i = 0; i < 100; i++)); do
        port=$((20000 + RANDOM % 12000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
    done
    return 1
}
