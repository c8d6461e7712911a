# What the spool of the user who asks tells of a run. Before it comes an assignment: _run.
fleet_see() {
  fleet_spool || exit
  echo "holder $_run"
  fleet_evidence "$_run"
}
