# Finds the login user's authorized_keys and refuses what sshd would not read, or what fleet must not touch.
# Sets dir, file and there. POSIX sh and tools only; runs under dash, bash and busybox.
# Answers are lines on standard output: WORD, or WORD<TAB>PATH<TAB>DETAIL.

set -fu
LC_ALL=C
export LC_ALL
umask 077
tab=$(printf '\t')

answer() { printf '%s\n' "$1${2+$tab$2$tab$3}"; }
refuse() { answer "$@"; exit 0; }
fail() { printf '%s\n' "$1" >&2; exit 1; }

# Checksum and size of $1. POSIX has cksum, busybox often only sha256sum.
if command -v sha256sum >/dev/null 2>&1; then sum_with=sha256sum; else sum_with=cksum; fi
checksum() {
    # shellcheck disable=SC2046
    set -- $("$sum_with" <"$1") $(wc -c <"$1")
    # sha256sum adds a dash for standard input, cksum the size.
    [ $# -eq 3 ] && printf '%s %s' "$1" "$3"
}

me=$(id -u) || fail 'id does not work'
mygroup=$(id -g)

# Sets mode, uid and gid of $1.
look() {
    # shellcheck disable=SC2046
    set -- "$1" $(ls -ldn -- "$1")
    [ $# -gt 5 ] || fail "cannot look at $1"
    mode=$2 uid=$4 gid=$5
}

# The rule of sshd's StrictModes: owned by the user or root, and writable by nobody else.
check() {
    look "$1"
    case $uid in 0 | "$me") ;; *) refuse foreign "$1" "$uid" ;; esac
    case $mode in
    ????????w*) refuse writable "$1" "$mode" ;;
    ?????w*)
        # Debian's sshd bears with the group that has the user's own name.
        [ "$gid" = "$mygroup" ] && [ "$(id -gn)" = "$(id -un)" ] || refuse writable "$1" "$mode"
        answer group-writable "$1" "$mode"
        ;;
    esac
}

home=$(cd -- "$HOME" && pwd -P) || fail "cannot enter the home folder $HOME"
dir=${home%/}/.ssh
file=$dir/authorized_keys
there=no
if [ -e "$dir" ] || [ -L "$dir" ]; then
    [ -d "$dir" ] || refuse not-a-folder "$dir" ''
    dir=$(cd -- "$dir" && pwd -P) || fail "cannot enter $dir"
    file=$dir/authorized_keys
    if [ -L "$file" ]; then
        real=$(readlink -f -- "$file") && [ -e "$real" ] || refuse link "$file" 'nothing'
        case $real in
        "$dir"/*) case ${real#"$dir"/} in */*) refuse link "$file" "$real" ;; esac ;;
        *) refuse link "$file" "$real" ;;
        esac
        file=$real
    fi
    if [ -e "$file" ]; then
        [ -f "$file" ] || refuse not-a-file "$file" ''
        check "$file"
        there=yes
    fi
fi

# Like sshd: every folder from the file up to the home folder, or to the root when ~/.ssh is elsewhere.
at=$dir
[ -d "$at" ] || at=$home
while check "$at" && [ "$at" != "$home" ] && [ "$at" != / ]; do
    at=${at%/*}
    at=${at:-/}
done
