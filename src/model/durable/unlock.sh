# Takes the lock of a run away. Before it come assignments: _run, _site, _line (for the history).
exec 2>/dev/null
fleet_boot
fleet_spool || exit
_holder=
read -r _holder _ <"$_spool/lock.$_site"
[ "$_holder" = "$_run" ] || { echo "holder ${_holder:--} -"; exit; }
{ tail -n 99 "$_spool/history"; echo "$_line"; } >"$_spool/history.$_run" && mv "$_spool/history.$_run" "$_spool/history"
rm -f "$_spool/lock.$_site" && echo released
