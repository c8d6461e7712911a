//! The password: sent as such, or as the answer to a prompt without echo.

use russh::MethodKind;
use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use secrecy::ExposeSecret as _;

use super::{Answer, Login, MOST_ROUNDS, Stop, limited};
use crate::ssh::credentials::Credentials;
use crate::ssh::link::Client;
use crate::ssh::words::server_words;

impl Login<'_> {
    /// True when it was all that the server wanted.
    pub(super) async fn password(
        &mut self,
        handle: &mut Handle<Client>,
        credentials: &Credentials,
    ) -> Result<bool, Stop> {
        let Some(gate) = &credentials.password else { return Ok(false) };
        if !self.wants(MethodKind::Password) && !self.wants(MethodKind::KeyboardInteractive) {
            // It was of use already, or the server wants a key before it.
            if self.passed.is_empty() && !self.key_accepted {
                self.remark("the server takes no password".to_owned());
            }
            return Ok(false);
        }
        let permit = match gate.permit().await {
            Ok(permit) => permit,
            Err(host) => return Ok(self.remark(format!("password refused by {host}; not tried elsewhere"))),
        };
        let mut sent = false;
        let end = self.send(handle, permit.password().expose_secret(), &mut sent).await;
        // Where it was not sent, nobody has looked at it: the server wanted something else, or nothing.
        if sent && matches!(end, Ok(Some(Answer::In | Answer::Partly))) {
            self.password_accepted = true;
            permit.accepted();
        } else if sent {
            let remark = match &end {
                Ok(Some(_)) => "the password was refused, and is not tried elsewhere",
                Ok(None) => "the password was not enough, and is not tried elsewhere",
                // What sshd does at the last failure that it allows: a wrong password must not go to the next host.
                Err(_) => "no answer to the password, which is not tried elsewhere",
            };
            self.remark(remark.to_owned());
            permit.refused(self.label.as_str()).await;
        }
        end.map(|answer| answer == Some(Answer::In))
    }

    fn wants(&self, method: MethodKind) -> bool {
        self.takes(method) && !self.passed.contains(&method)
    }

    /// Sends it by the methods that the server takes. `sent`: the server has looked at it, or may have. None: it wants more than that.
    async fn send(
        &mut self,
        handle: &mut Handle<Client>,
        secret: &str,
        sent: &mut bool,
    ) -> Result<Option<Answer>, Stop> {
        let mut end = Some(Answer::No);
        let mut method = MethodKind::Password;
        if self.wants(method) {
            self.tried.push("password".to_owned());
            *sent = true;
            let answer = limited(self.limit, handle.authenticate_password(self.host.user.as_str(), secret)).await?;
            let answer = self.answer(answer, "password")?;
            // A server that takes no password after all has not looked at it.
            *sent = self.takes(method) || answer != Answer::No;
            end = Some(answer);
        }
        if !*sent && self.wants(MethodKind::KeyboardInteractive) {
            method = MethodKind::KeyboardInteractive;
            self.tried.push("keyboard-interactive".to_owned());
            end = self.prompts(handle, secret, sent).await?;
        }
        if end.is_some_and(|answer| answer != Answer::No) {
            self.passed.push(method);
        }
        Ok(end)
    }

    /// Keyboard-interactive: the password answers one prompt without echo.
    async fn prompts(
        &mut self,
        handle: &mut Handle<Client>,
        secret: &str,
        sent: &mut bool,
    ) -> Result<Option<Answer>, Stop> {
        let start = handle.authenticate_keyboard_interactive_start(self.host.user.as_str(), None::<String>);
        let mut response = limited(self.limit, start).await?;
        for _ in 0..MOST_ROUNDS {
            let prompts = match response {
                KeyboardInteractiveAuthResponse::Success => return Ok(Some(Answer::In)),
                KeyboardInteractiveAuthResponse::Failure { remaining_methods, partial_success } => {
                    let failure = AuthResult::Failure { remaining_methods, partial_success };
                    return self.answer(failure, "keyboard-interactive").map(Some);
                }
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => prompts,
            };
            let responses = match prompts.as_slice() {
                [] => Vec::new(),
                // Once the password was accepted, a server that asks for something else wants a code: the password would be a wrong one.
                [prompt] if !prompt.echo && !*sent && (!self.password_accepted || is_for_password(&prompt.prompt)) => {
                    *sent = true;
                    vec![secret.to_owned()]
                }
                prompts => {
                    let asked: Vec<&str> = prompts.iter().map(|prompt| prompt.prompt.trim()).collect();
                    let asked = server_words(&asked.join(", "));
                    self.remark(format!("the server asks for more than a password: `{asked}`"));
                    return Ok(None);
                }
            };
            response = limited(self.limit, handle.authenticate_keyboard_interactive_respond(responses)).await?;
        }
        self.remark(format!("the server asked {MOST_ROUNDS} times"));
        Ok(None)
    }
}

fn is_for_password(prompt: &str) -> bool {
    let prompt = prompt.to_lowercase();
    let is_code = ["one-time", "one time", "otp", "oath", "code", "token"].iter().any(|word| prompt.contains(word));
    prompt.contains("password") && !is_code
}
