# Comes after find.sh. Prints the file as it is, below one line about it. Uses: limit.

[ "$there" = yes ] || refuse none
sum=$(checksum "$file") && [ -n "$sum" ] || fail "cannot read $file"
[ "${sum#* }" -le "$limit" ] || refuse too-large "$file" "${sum#* }"
answer content "$sum" ''
cat <"$file"
