# The book of a site on a host: what is known of the site there, whoever asks. Before it come assignments: _site, _lock (the book's folder,
# where the recipe names one) and _login (the user who logs in). Whoever may write to the book is one who may deploy. In the book:
#   lock            the run that works on the site, and what it says of itself; then lines `boot ID`, `users NAMES` (others who have steps
#                   of it), `login NAME` (in whose spool its other steps are), `connection PID START BOOT`
#   at.RUN.HOST     the run works for the host on the site: the lock stays as long as there is one. In it, the server process of the
#                   controller's last connection
#   last            the run that had the lock last
#   sequence        the greatest number of a run here. Runs are ordered by it, not by a clock
#   effect.STEP     what a step has left in force: the run, and in the second line the words
#   proof           what a success has proven: number, run, variable, the host's clock, who, and of each further variable a word
#                   `NAME=VALUE`, its value as in a URL; from the second line on the value of the first. The variable `-`: the run was
#                   taken up again since, and proves nothing any more
#   history         a line for each run that was here
# SPOOL/site.SITE names the folder, for who asks when the recipe does not read.

# Sets $_book. In a worktree of git, or a submodule, `.git` is a file that names the folder: there the book lies, as in a folder `.git`, for
# all who deploy to that checkout.
fleet_book() {
  _book=$_lock
  [ -n "$_book" ] || { [ -n "$_lost" ] && read -r _book <"$_spool/site.$_site"; } || _book=$_spool/book.$_site
  case $_book in .git/* | */.git/*)
    _above=${_book%.git/*} _word=
    # Its last line may have no end.
    [ ! -f "$_above.git" ] || { read -r _word _real <"$_above.git"; [ "$_word" = gitdir: ]; } || _word=
    if [ -n "$_word" ]; then
      case $_real in /*) ;; *) _real=$_above$_real ;; esac
      _book=$_real/${_book##*.git/}
    fi
  ;; esac
}

# Has the run the lock still? $1: what stands for the name in a lock that this user may not read.
fleet_holds() {
  _holder=
  [ ! -e "$_book/lock" ] || _holder=$1
  read -r _holder _ <"$_book/lock"
  [ "$_holder" = "$_run" ]
}

# Notes what a step is about to leave in force: $_effects, words for the shell, by twos a step's name and what it says of it.
fleet_begin() {
  eval "set -- $_effects"
  (umask 007; while [ $# -gt 1 ]; do printf '%s\n' "$_run" "$2" >"$_book/effect.$1" || exit 1; shift 2; done)
}

# What the steps of these names have left in force is so no more.
fleet_strike() {
  for _name in "$@"; do rm -f "$_book/effect.$_name"; done
}
