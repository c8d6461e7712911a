# Comes after find.sh. Appends to the file, or makes it, as one step: a copy beside it gets the addition and then the name.
# Uses: expected (checksum and size of the file that was read, or none), addition, size (of the new file), patience (seconds).

restore_label() {
    # A file that was moved keeps the SELinux label of the place where it was made.
    if command -v restorecon >/dev/null 2>&1; then restorecon "$@" || answer unlabelled "$file" ''; fi
}

if [ ! -d "$dir" ]; then
    mkdir -- "$dir" || fail "cannot make $dir"
    restore_label "$dir"
fi

# A lock on the folder itself goes away with its holder. Where there is no flock, or the file system has none, a folder does it.
lock=
if command -v flock >/dev/null 2>&1; then lock_with=flock; else lock_with=mkdir; fi
exec 9<"$dir"
tenths=0
while :; do
    if [ "$lock_with" = flock ]; then
        flock -n 9 2>/dev/null && break
        # 1 says that another holds it, anything else that it does not work here.
        [ $? -eq 1 ] || { lock_with=mkdir; continue; }
    elif mkdir -- "$dir/.fleet-lock" 2>/dev/null; then
        lock=$dir/.fleet-lock
        break
    fi
    [ "$tenths" -lt "${patience}0" ] || refuse locked "$dir" "$lock_with"
    if sleep 0.2 2>/dev/null; then tenths=$((tenths + 2)); else sleep 1; tenths=$((tenths + 10)); fi
done

new=$dir/.authorized_keys.fleet
clean() {
    rm -f -- "$new"
    [ -z "$lock" ] || rmdir -- "$lock"
}
trap clean EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
# Left by a run that was killed.
rm -f -- "$new"

is_as_expected() {
    if [ "$expected" = none ]; then [ ! -e "$file" ] && [ ! -L "$file" ]; else [ "$(checksum "$file")" = "$expected" ]; fi
}

is_as_expected || refuse changed
readonly_file=
if [ "$expected" = none ]; then
    : >"$new" || fail "cannot write in $dir"
else
    cp -p -- "$file" "$new" || fail "cannot copy $file"
    look "$file"
    kept="$mode $uid $gid"
    look "$new"
    [ "$kept" = "$mode $uid $gid" ] || refuse not-kept "$file" "$kept"
    if [ ! -w "$new" ]; then
        readonly_file=yes
        chmod u+w "$new" || fail "cannot write $new"
    fi
fi
printf '%s' "$addition" >>"$new" || fail "cannot write $new"
now=$(checksum "$new")
[ "${now#* }" = "$size" ] || fail "cannot write $new: it has ${now#* } bytes instead of $size; is the disk full?"
[ -z "$readonly_file" ] || chmod u-w "$new" || fail "cannot restore the mode of $new"
sync -- "$new" 2>/dev/null || sync
is_as_expected || refuse changed
mv -f -- "$new" "$file" || fail "cannot replace $file"
sync -- "$dir" 2>/dev/null || sync
restore_label "$file"
answer added
