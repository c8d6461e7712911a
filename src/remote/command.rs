//! The one place where a command is put into bytes.
//!
//! What sshd hands to the user's login shell (bash, fish, csh, …) is only `exec /bin/sh -s`, or `exec sudo -n -u USER -- /bin/sh -s`:
//! no quoting is needed that those shells could read differently. The command itself goes to that `sh` on standard input,
//! so it stands in no process list. See [`RemoteCommand::wire`] for what that input does.
//!
//! A login's environment may hold variables that change what the words of a command mean: `CDPATH` takes `cd releases` elsewhere, `GIT_DIR`
//! takes every `git` to another repository, whatever the folder is. sshd sets them (`SetEnv`, `PermitUserEnvironment`, PAM), and login
//! shells do (`.bashrc`, `.zshenv`). `MEANING` names them; all that fleet runs on hosts, scripts of its own among them, begins without
//! them, and the `env` of a step may set them again.

use std::fmt::Write as _;

use crate::model::plan::command::RemoteCommand;
use crate::model::recipe::shell::quote;
use crate::model::run::finding::MAX_BYTES;
use crate::model::text::name::UserName;

/// A command as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wire {
    /// What the login shell gets.
    pub exec: String,
    /// What `/bin/sh` then has to be taught, each text once, if it can take one command after another. Without any, the shell ends with its
    /// command.
    pub setup: Vec<&'static str>,
    /// The command, as `/bin/sh` reads it on standard input, which stays open as the leash: a line `TERM PID` or `KILL PID` written to it
    /// after the begin mark is sent as a signal to the command's process group. That of a durable step takes a
    /// [`LeashOrder`](super::LeashOrder).
    pub stdin: Vec<u8>,
    /// Standard output carries `FOUND 0\n` after the last byte of the command's output when it has reported findings; they follow, and then the
    /// end mark.
    pub found: String,
    /// Both streams carry `BEGIN PID\n` before the first byte of the command's output; what comes earlier is noise of the login shell.
    pub begin: String,
    /// Both streams carry `END WORDS\n` after the last byte, however long a daemon may keep them open: the exit status, and for a
    /// durable step what [`super::StepEnd`] reads. No newline stands before it: a line that ends with one could be told only
    /// when it is known that no mark follows, which is when the next line comes.
    pub end: String,
}

/// Variables that are unset before a command: they change what shells, and the programs that recipes are made of, do with the same words.
///
/// * Shells: where `cd` goes, what is run before a script (`ENV`, `BASH_ENV`), after how many seconds `read` gives up (`TMOUT`).
/// * Options that `grep` and `tar` take before those of the command line.
/// * git: which repository, files and objects are meant, and how a path or a difference is read. These are `git rev-parse --local-env-vars`,
///   which git itself unsets when it goes to another repository, and others of git(1) that do the like.
///
/// What says how the login does things stays: `PATH`, `LANG`, proxies, `SSH_AUTH_SOCK`, `GIT_SSH_COMMAND`, `GIT_ASKPASS`,
/// `GIT_TERMINAL_PROMPT`, `GIT_AUTHOR_NAME` and its like, `GIT_TRACE`; also `GIT_CONFIG_GLOBAL` and `GIT_CONFIG_SYSTEM`, which are files of the
/// login as `HOME` is its folder. So does `POSIXLY_CORRECT`: with it, bash as `/bin/sh` would leave its POSIX mode. bash lets nobody
/// unset `SHELLOPTS`, and its exported functions have any name.
///
/// It takes dash 5 microseconds, bash 25, and 500 bytes.
///
/// Rejected: all that begins with `GIT_`. A POSIX shell lists its variables only as text (`set`, `export -p`), which takes a process to read,
/// and a value may look like another variable; and a login's `GIT_SSH_COMMAND` would be gone. An empty environment (`env -i`) would
/// take its `PATH` and proxies, too.
const MEANING: &str = "CDPATH ENV BASH_ENV TMOUT GREP_OPTIONS TAR_OPTIONS GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_ATTR_SOURCE \
    GIT_COMMON_DIR GIT_CONFIG GIT_CONFIG_COUNT GIT_CONFIG_PARAMETERS GIT_DIFF_OPTS GIT_DIR GIT_EXTERNAL_DIFF \
    GIT_GLOB_PATHSPECS GIT_GRAFT_FILE GIT_ICASE_PATHSPECS GIT_IMPLICIT_WORK_TREE GIT_INDEX_FILE \
    GIT_INTERNAL_SUPER_PREFIX GIT_LITERAL_PATHSPECS GIT_NAMESPACE GIT_NOGLOB_PATHSPECS GIT_NO_REPLACE_OBJECTS \
    GIT_OBJECT_DIRECTORY GIT_PREFIX GIT_QUARANTINE_PATH GIT_REPLACE_REF_BASE GIT_SHALLOW_FILE GIT_WORK_TREE";

/// Bytes that the host gives of a report: one more than is read, by which it is known that there is more.
pub(super) const MAX_REPORT: usize = MAX_BYTES + 1;

/// Longest text that goes into the environment of the command's shell: Linux allows 128 KiB for one string.
const ENVIRONMENT_LIMIT: usize = 96 << 10;

/// Secret values are handed to the command's shell under names of their own: that of the step may be one of [`MEANING`].
const SECRET: &str = "FLEET_SECRET_";

impl RemoteCommand {
    /// The command as it is sent. `nonce` is fresh random hex: output can not forge the marks that are made of it.
    ///
    /// `setsid` gives the command a session and process group of its own, so that a time limit ends all of it, and not only
    /// the channel. Without `setsid` on the host the signal goes to the command's shell alone.
    ///
    /// The command runs in the foreground and the watcher of the leash in the background, not the other way round: a shell without job
    /// control lets its background commands ignore INT and QUIT, and a service started by a step would inherit that. A `TMOUT` of the login
    /// would bound how long the watcher reads, in bash and ksh.
    pub fn wire(&self, nonce: &str) -> Wire {
        self.wired(nonce, false)
    }

    /// The same, with a file that it may report findings in. There is no folder of a run for it: it lies in one of its own, which the waiting
    /// shell makes, reads and removes.
    pub fn reporting_wire(&self, nonce: &str) -> Wire {
        self.wired(nonce, true)
    }

    fn wired(&self, nonce: &str, reports: bool) -> Wire {
        let exec = login_command("", self.as_user.as_ref());
        let Marks { begin, found, end } = Marks::of(nonce);
        // The leash is used once the mark on standard output is there; by then, the other one is too.
        let mark = r#"exec 2>&6 6>&-; printf '%s %s\n' "$FLEET_MARK" $$ >&2; printf '%s %s\n' "$FLEET_MARK" $$"#;
        let Payload { variables, inner, redirections, bodies } = self.payload(nonce, mark);
        // One compound command: sh reads all of it before it runs any, and what follows on standard input is the leash.
        // Standard error of the waiting shell is taken from it, or it would say "Terminated" there: 6 is the real one,
        // which the command's shell takes for itself, since dash redirects in the waiting shell; `6>&6` hands it over in ksh. `kill -TERM -- -PID` is an error in dash and busybox.
        let (folder, file, report) = if reports {
            let report = format!(
                r#"trap '' PIPE
if [ -z "$d" ]; then echo "{found} 0"; echo "warning - -- no folder for findings could be made on the host: none could be reported"
elif [ -s "$d/found" ] || [ -h "$d/found" ]; then echo "{found} 0"; [ ! -f "$d/found" ] || [ -h "$d/found" ] || dd if="$d/found" bs={MAX_REPORT} count=1; fi
[ -z "$d" ] || rm -rf "$d"
"#
            );
            ("d=$(umask 077; mktemp -d)\n", "FLEET_FINDINGS=${d:+$d/found}", report)
        } else {
            ("", "", String::new())
        };
        let stdin = format!(
            r#"{{
exec 3<&0 6>&2 2>/dev/null
{{ TMOUT=0; while read -r s p; do kill -"$s" "-$p" || kill -"$s" "$p"; done; }} <&3 >/dev/null 2>&1 6>&- &
w=$!
s=; command -v setsid >/dev/null 2>&1 && s=setsid
{folder}FLEET_MARK={begin} {file} {variables} $s /bin/sh -c {inner} sh </dev/null 3<&- 6>&6 {redirections}
{bodies}r=$?
kill $w
{report}printf '%s %s\n' {end} $r; printf '%s %s\n' {end} $r >&6
exit $r
}}
"#,
        );
        Wire { exec, setup: Vec::new(), stdin: stdin.into_bytes(), found, begin, end }
    }

    /// The command as the argument of a shell that does `first` before it.
    pub(super) fn payload(&self, nonce: &str, first: &str) -> Payload {
        let text = self.shell_text();
        let mut payload = Payload::default();
        // Straight into the environment of the command's shell: a here-document is a file to some shells.
        for (number, secret) in self.secret_env.values().enumerate() {
            let _ = write!(payload.variables, "{SECRET}{number}={} ", quote(secret.expose()));
        }
        let inner = if text.len() <= ENVIRONMENT_LIMIT {
            let _ = write!(payload.variables, "FLEET_TEXT={}", quote(&text));
            format!(r#"{first}; eval "$FLEET_TEXT""#)
        } else {
            // Half a text must not run: its last line tells that it is whole.
            payload.add(4, &format!("{text}\nfleet-whole"), nonce);
            format!(
                "{first}; FLEET_TEXT=$(cat <&4) || exit; exec 4<&-
case $FLEET_TEXT in *fleet-whole) eval \"${{FLEET_TEXT%fleet-whole}}\";; *) echo fleet: the command arrived incomplete >&2; exit 1;; esac"
            )
        };
        if self.interpreter.is_some() {
            payload.add(5, &self.text, nonce);
        }
        Payload { inner: quote(&inner), ..payload }
    }

    /// What the command's shell evaluates. The text starts on its first line, so that the shell's messages name the right one.
    fn shell_text(&self) -> String {
        let mut all = format!("unset FLEET_MARK FLEET_TEXT FLEET_GATE {MEANING}; ");
        for (name, value) in &self.env {
            let _ = write!(all, "export {} || exit; ", quote(&format!("{name}={value}")));
        }
        for (number, name) in self.secret_env.keys().enumerate() {
            let _ = write!(all, "{name}=${SECRET}{number}; export {name}; unset {SECRET}{number}; ");
        }
        match self.cwd.as_deref() {
            None => {}
            // `cd ''` succeeds and stays where it is: a variable that came out empty would run the command in the login folder.
            Some("") => all.push_str("echo 'fleet: the folder to run in (cwd) is empty' >&2; exit 1; "),
            Some(cwd) => {
                let _ = write!(all, "cd -- {} >/dev/null || exit; ", quote(cwd));
            }
        }
        match &self.interpreter {
            None => all.push_str(&self.text),
            // The script becomes a file only where an interpreter needs one; the shell that waits for it removes it.
            Some(interpreter) => {
                let _ = write!(
                    all,
                    r#"f=$(umask 077; mktemp) || exit; trap 'rm -f "$f"' EXIT; trap 'exit 143' HUP INT TERM
cat <&5 >"$f" || exit; exec 5<&-; n=$(wc -c <"$f") || exit
[ $n -eq {length} ] || {{ echo "fleet: the script arrived incomplete" >&2; exit 1; }}
{interpreter} "$f""#,
                    length = self.text.len() + 1,
                );
            }
        }
        all
    }
}

/// What is put around the output of a command, made of its nonce.
pub(super) struct Marks {
    pub begin: String,
    pub found: String,
    pub end: String,
}

impl Marks {
    pub fn of(nonce: &str) -> Self {
        Self { begin: format!("{nonce}-begin"), found: format!("{nonce}-found"), end: format!("{nonce}-end") }
    }
}

/// What the login shell gets: a plain shell, of the user whom a command runs as.
pub(super) fn login_command(launcher: &str, as_user: Option<&UserName>) -> String {
    let sudo = as_user.map(|user| format!("sudo -n -H -u {user} -- ")).unwrap_or_default();
    format!("exec {launcher}{sudo}/bin/sh -s")
}

/// The pieces of the line that starts the command's shell.
#[derive(Default)]
pub(super) struct Payload {
    /// Assignments before it.
    pub variables: String,
    /// The argument of `sh -c`, quoted.
    pub inner: String,
    /// The here-documents of `bodies`.
    pub redirections: String,
    /// What follows on the next line.
    pub bodies: String,
}

impl Payload {
    /// Adds a here-document: a text of any length, byte for byte, that stands in no process list and in no environment. It gets a final
    /// newline.
    fn add(&mut self, descriptor: u8, text: &str, nonce: &str) {
        let _ = write!(self.redirections, "{descriptor}<<'{nonce}-text' ");
        let _ = writeln!(self.bodies, "{text}\n{nonce}-text");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::text::secret::Secret;

    #[test]
    fn the_login_shell_reads_nothing_that_needs_quotes() {
        let mut command = RemoteCommand::shell("echo 'x'; $(y)");
        assert_eq!(command.wire("abc").exec, "exec /bin/sh -s");
        command.as_user = Some(UserName::parse("web2py").unwrap());
        assert_eq!(command.wire("abc").exec, "exec sudo -n -H -u web2py -- /bin/sh -s");
    }

    /// Every process of a host can be seen by its other users.
    #[test]
    fn nothing_of_the_command_stands_in_a_process_list() {
        for (text, interpreter) in
            [("secret", None), ("secret", Some("/usr/bin/python3")), (&*"secret".repeat(20_000), None)]
        {
            let mut command = RemoteCommand::shell(text);
            command.interpreter = interpreter.map(str::to_owned);
            command.env.insert("TOKEN".to_owned(), "secret".to_owned());
            let stdin = String::from_utf8(command.wire("abc").stdin).unwrap();
            let arguments = stdin.split("/bin/sh -c ").nth(1).unwrap().split(" sh </dev/null").next().unwrap();
            assert!(!arguments.contains("secret"), "{arguments}");
        }
    }

    /// Neither in its text, which may go through a file, nor in an argument: only in the assignments before it.
    #[test]
    fn a_secret_goes_into_the_environment_and_nowhere_else() {
        for (text, interpreter) in [("true", None), ("true", Some("/bin/bash")), (&*"true\n".repeat(30_000), None)] {
            let mut command = RemoteCommand::shell(text);
            command.interpreter = interpreter.map(str::to_owned);
            command.secret_env.insert("PASSWORD".to_owned(), Secret::of("hunter2 it's".to_owned()));
            assert!(!command.shell_text().contains("hunter2"));
            let stdin = String::from_utf8(command.wire("abc").stdin).unwrap();
            assert_eq!(stdin.matches("hunter2").count(), 1);
            let before = stdin.split("/bin/sh -c ").next().unwrap();
            assert!(before.contains(r"FLEET_SECRET_0='hunter2 it'\''s' "), "{before}");
        }
    }

    #[test]
    fn a_variable_s_name_cannot_run_anything() {
        let mut command = RemoteCommand::shell("true");
        command.env.insert("A; id".to_owned(), "b".to_owned());
        assert!(command.shell_text().contains("export 'A; id=b' || exit; "));
    }

    #[test]
    fn the_text_starts_on_the_first_line() {
        let mut command = RemoteCommand::shell("true");
        command.env.insert("A".to_owned(), "b".to_owned());
        command.cwd = Some("/srv".to_owned());
        assert!(!command.shell_text().contains('\n'), "{}", command.shell_text());
    }
}
