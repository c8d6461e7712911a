//! What signs a login: a key in a file or in the agent, for itself or for its certificate.
//!
//! Rejected: russh's own way for a certificate and a key in a file. It says of an RSA key's signature that it is another than it is.

use std::sync::Arc;

use russh::keys::agent::AgentIdentity;
use russh::keys::ssh_key::{self, private::KeypairData};
use russh::keys::{HashAlg, PrivateKey, PublicKey};
use russh::{AgentAuthError, Signer};
use signature::Signer as _;

use crate::ssh::agent::Agent;

/// A private key.
pub(super) enum KeySigner<'a> {
    /// Out of a file.
    Private(Arc<PrivateKey>),
    /// In the agent, which may have its certificate, too, or the key alone.
    Agent(&'a mut Agent),
}

impl Signer for KeySigner<'_> {
    type Error = AgentAuthError;

    async fn auth_sign(
        &mut self,
        identity: &AgentIdentity,
        hash: Option<HashAlg>,
        mut data: Vec<u8>,
    ) -> Result<Vec<u8>, AgentAuthError> {
        match self {
            Self::Private(key) => {
                let signature = sign(key, hash, &data).map_err(russh::keys::Error::from)?;
                data.extend(u32::try_from(signature.len()).unwrap_or_default().to_be_bytes());
                data.extend(signature);
                Ok(data)
            }
            Self::Agent(agent) => match (agent.sign_request(identity, hash, data.clone()).await, identity) {
                (Err(_), AgentIdentity::Certificate { certificate, comment }) => {
                    let (key, comment) = (PublicKey::from(certificate.public_key().clone()), comment.clone());
                    Ok(agent.sign_request(&AgentIdentity::PublicKey { key, comment }, hash, data).await?)
                }
                (signed, _) => Ok(signed?),
            },
        }
    }
}

/// Algorithm and signature, as the protocol sends them (RFC 4253, section 6.6).
fn sign(key: &PrivateKey, hash: Option<HashAlg>, data: &[u8]) -> Result<Vec<u8>, ssh_key::Error> {
    let signature: ssh_key::Signature = match key.key_data() {
        KeypairData::Rsa(pair) => (pair, hash).try_sign(data)?,
        pair => pair.try_sign(data)?,
    };
    signature.try_into()
}
