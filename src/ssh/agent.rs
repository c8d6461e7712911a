//! The keys of an SSH agent (draft-ietf-sshm-ssh-agent).
//!
//! russh's own listing fails as a whole when one key is of a type that it does not know, so the list is read here. The agent is asked
//! to sign for this connection only; it is never forwarded.

use std::io;
use std::path::Path;
use std::time::Duration;

use russh::keys::agent::client::{AgentClient, AgentStream};
use russh::keys::agent::{AgentIdentity, AgentSessionBinding};
use russh::keys::ssh_key::encoding::Decode as _;
use russh::keys::{Certificate, PublicKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::key::PublicKeyLine;

pub(super) type Agent = AgentClient<Box<dyn AgentStream + Send + Unpin>>;

const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
/// An agent is a process on this machine.
const PATIENCE: Duration = Duration::from_secs(5);
/// As OpenSSH's agent: no longer message.
const LONGEST_MESSAGE: u32 = 256 << 10;

/// Opens the agent and reads its keys; those of unknown types are left out. The agent is told which connection they are for, so that
/// it also lists keys that are restricted to some hosts.
pub(super) async fn open(
    path: &Path,
    binding: Option<&AgentSessionBinding>,
) -> io::Result<(Agent, Vec<AgentIdentity>)> {
    let mut agent = AgentClient::connect(UnixStream::connect(path).await?);
    if let Some(binding) = binding {
        // Agents that do not know the message say so, and list what they would have listed.
        let _ = agent.bind_session(binding, false).await;
    }
    let mut stream = agent.into_inner();
    stream.write_all(&[0, 0, 0, 1, REQUEST_IDENTITIES]).await?;
    let length = stream.read_u32().await?;
    if length > LONGEST_MESSAGE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the agent's answer is too long"));
    }
    let mut answer = vec![0; usize::try_from(length).unwrap_or_default()];
    stream.read_exact(&mut answer).await?;
    Ok((AgentClient::connect(stream), identities(&answer)))
}

/// Does the agent have this key? An agent that does not answer has none.
pub async fn agent_has(path: &Path, key: &PublicKeyLine) -> bool {
    let Ok(Ok((_, listed))) = timeout(PATIENCE, open(path, None)).await else { return false };
    let lines = listed.iter().filter_map(|identity| PublicKeyLine::of(&identity.public_key()).ok());
    lines.into_iter().any(|line| line.data() == key.data())
}

fn identities(answer: &[u8]) -> Vec<AgentIdentity> {
    let Some((&IDENTITIES_ANSWER, answer)) = answer.split_first() else { return Vec::new() };
    // The count comes first; the list ends where the bytes do.
    let mut rest = answer.get(4..).unwrap_or_default();
    let mut found = Vec::new();
    while let (Ok(blob), Ok(comment)) = (Vec::<u8>::decode(&mut rest), Vec::<u8>::decode(&mut rest)) {
        found.extend(identity(&blob, String::from_utf8_lossy(&comment).into_owned()));
    }
    found
}

fn identity(blob: &[u8], comment: String) -> Option<AgentIdentity> {
    // Also refuses certificates that are nested so deep that decoding them would end the process.
    let key: PublicKey = russh::keys::key::parse_public_key(blob).ok()?;
    if key.key_data().is_other() {
        return None;
    }
    if key.key_data().is_certificate() {
        return Certificate::from_bytes(blob)
            .ok()
            .map(|certificate| AgentIdentity::Certificate { certificate, comment });
    }
    Some(AgentIdentity::PublicKey { key, comment })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(out: &mut Vec<u8>, bytes: &[u8]) {
        out.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
        out.extend(bytes);
    }

    #[test]
    fn a_key_of_an_unknown_type_hides_no_other() {
        let mut ed25519 = Vec::new();
        put(&mut ed25519, b"ssh-ed25519");
        put(&mut ed25519, &[7; 32]);
        let mut unknown = Vec::new();
        put(&mut unknown, b"ssh-future@example.org");
        put(&mut unknown, b"???");
        let mut answer = vec![IDENTITIES_ANSWER, 0, 0, 0, 3];
        for (blob, comment) in [(&unknown, "new"), (&b"rubbish".to_vec(), ""), (&ed25519, "me@laptop")] {
            put(&mut answer, blob);
            put(&mut answer, comment.as_bytes());
        }
        let found = identities(&answer);
        assert_eq!(found.iter().map(AgentIdentity::comment).collect::<Vec<_>>(), ["me@laptop"]);
        assert!(identities(&[5]).is_empty());
        answer.truncate(answer.len() - 3);
        assert!(identities(&answer).is_empty());
    }
}
