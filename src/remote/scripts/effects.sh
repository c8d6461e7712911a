# What the login user does for a step of another one, who may not be able to read the site's book, or to write to it. Before it come the
# assignments of a book, _run, and for fleet_note _effects and _strike (names of steps).

# What the step leaves in force, or has ended.
fleet_note() {
  fleet_spool || exit
  fleet_book
  if [ -n "$_effects" ]; then
    fleet_holds || { echo taken; exit; }
    fleet_begin || exit
  fi
  fleet_strike $_strike
  echo noted
}

# Has the run the lock still?
fleet_see_lock() {
  fleet_spool || exit
  fleet_book
  if fleet_holds; then echo held; else echo taken; fi
}
