# What a step leaves in force, or has ended, when its own shell is not the login user's. Before it come the assignments of a book, _run,
# _effects and _strike (names of steps).
fleet_note() {
  fleet_spool || exit
  fleet_book
  [ -z "$_effects" ] || fleet_begin || exit
  fleet_strike $_strike
  echo noted
}
