//! The password: sent as such, or as the answer to a prompt without echo.

use russh::MethodKind;
use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use secrecy::ExposeSecret as _;

use super::{Answer, Login, MOST_ROUNDS, Stop, limited};
use crate::model::printable::printable;
use crate::ssh::credentials::Credentials;
use crate::ssh::link::Client;

impl Login<'_> {
    /// True when it was all that the server wanted.
    pub(super) async fn password(
        &mut self,
        handle: &mut Handle<Client>,
        credentials: &Credentials,
    ) -> Result<bool, Stop> {
        let Some(gate) = &credentials.password else { return Ok(false) };
        let asked = |login: &Self, method| login.takes(method) && !login.password_accepted.contains(&method);
        let (plain, prompts) = (MethodKind::Password, MethodKind::KeyboardInteractive);
        if !asked(self, plain) && !asked(self, prompts) {
            // It was of use already, or the server wants a key before it.
            if self.password_accepted.is_empty() && !self.key_accepted {
                self.remark("the server takes no password".to_owned());
            }
            return Ok(false);
        }
        let leave = match gate.leave().await {
            Ok(leave) => leave,
            Err(host) => return Ok(self.remark(format!("password refused by {host}; not tried elsewhere"))),
        };
        let secret = leave.password().expose_secret();
        let mut answer = Answer::No;
        let mut method = plain;
        let mut sent = false;
        if asked(self, plain) {
            self.tried.push("password".to_owned());
            // The offers are still unknown when no key was tried: then this may be refused without a look at the password.
            let was_offered = self.offers.is_some();
            let attempt = handle.authenticate_password(self.host.user.as_str(), secret);
            answer = match limited(self.limit, attempt).await.and_then(|answer| self.answer(answer, "password")) {
                Err(Stop::Closed) => {
                    // What sshd does to the last failure that it bears: a wrong password must not go to the next host.
                    self.remark("the server closed at the password, which is not tried elsewhere".to_owned());
                    leave.refused(self.host.label.as_str()).await;
                    return Err(Stop::Closed);
                }
                answer => answer?,
            };
            sent = was_offered || self.takes(plain) || answer != Answer::No;
        }
        if !sent && asked(self, prompts) {
            method = prompts;
            self.tried.push("keyboard-interactive".to_owned());
            (answer, sent) = self.prompts(handle, secret).await?;
        }
        if answer != Answer::No {
            self.password_accepted.push(method);
            leave.accepted();
        } else if sent {
            self.remark("the password was refused, and is not tried elsewhere".to_owned());
            leave.refused(self.host.label.as_str()).await;
        }
        Ok(answer == Answer::In)
    }

    /// Keyboard-interactive: the password answers one prompt without echo. Second value: was it sent?
    async fn prompts(&mut self, handle: &mut Handle<Client>, secret: &str) -> Result<(Answer, bool), Stop> {
        let start = handle.authenticate_keyboard_interactive_start(self.host.user.as_str(), None::<String>);
        let mut response = limited(self.limit, start).await?;
        let mut sent = false;
        for _ in 0..MOST_ROUNDS {
            let prompts = match response {
                KeyboardInteractiveAuthResponse::Success => return Ok((Answer::In, sent)),
                KeyboardInteractiveAuthResponse::Failure { remaining_methods, partial_success } => {
                    let failure = AuthResult::Failure { remaining_methods, partial_success };
                    return Ok((self.answer(failure, "keyboard-interactive")?, sent));
                }
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => prompts,
            };
            let responses = match prompts.as_slice() {
                [] => Vec::new(),
                // Once the password was accepted, a server that asks for something else wants a code: the password would be a wrong one.
                [prompt]
                    if !prompt.echo
                        && !sent
                        && (self.password_accepted.is_empty() || is_for_password(&prompt.prompt)) =>
                {
                    sent = true;
                    vec![secret.to_owned()]
                }
                prompts => {
                    let asked: Vec<String> = prompts
                        .iter()
                        .map(|prompt| format!("`{}`", printable(prompt.prompt.trim().as_bytes())))
                        .collect();
                    self.remark(format!("the server asks for more than a password: {}", asked.join(", ")));
                    // Asked again, so what was sent was not enough; whether it was wrong is not known.
                    return Ok((Answer::No, sent));
                }
            };
            response = limited(self.limit, handle.authenticate_keyboard_interactive_respond(responses)).await?;
        }
        self.remark(format!("the server asked {MOST_ROUNDS} times"));
        Ok((Answer::No, sent))
    }
}

fn is_for_password(prompt: &str) -> bool {
    prompt.to_lowercase().contains("password")
}
