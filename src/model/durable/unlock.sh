# Takes the lock of a run away. Before it come assignments: _run, _site, _line (for the history).
exec 2>/dev/null
fleet_spool || exit
_holder=
read -r _holder _ <"$_spool/lock.$_site"
[ "${_holder:-unnamed}" = "$_run" ] || exit
echo "$_line" >>"$_spool/history"
rm -f "$_spool/lock.$_site" && echo released
