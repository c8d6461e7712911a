# Can the user go into these folders? A relative one begins in the login folder.
fleet_folders() {
  _n=0
  for _folder in "$@"; do
    (cd -- "$_folder") || echo "no-folder $_n"
    _n=$((_n + 1))
  done
}
