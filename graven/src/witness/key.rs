//! The witness's key: made once, readable by nobody else.

use graven_engine::env::{Env, Open, read_file, replace_private_file};
use graven_model::{Code, Error, Result};
use graven_proof::note::{Algorithm, KeyName, SignerKey};
use std::io::ErrorKind;
use std::path::Path;

const KEY_FILE: &str = "witness.key";

/// Bytes of the file at the most.
const KEY_BYTES_MAX: u64 = 8 << 10;

/// Keeps one seed apart from another under a fixed one.
const PURPOSE: u64 = 0x7769_746e;

/// The witness's key in `dir`, made if there is none: with this name, or a random one.
///
/// # Errors
/// [`Code::KeysExposed`] if others may read it; [`Code::WrongKey`] if it does not read or has another name; those of the
/// disk.
pub(crate) fn make_key(env: &Env, dir: &Path, name: Option<&KeyName>) -> Result<SignerKey> {
    let path = dir.join(KEY_FILE);
    env.disk.create_private_dir(dir).map_err(|error| Error::io(dir.display(), &error))?;
    if let Some(key) = open_key(env, dir, name)? {
        return Ok(key);
    }
    let mut entropy = env.entropy(PURPOSE).map_err(|error| Error::io("the system's randomness", &error))?;
    let name = match name {
        Some(name) => name.clone(),
        None => format!("graven-witness-{:08x}", entropy.number() as u32)
            .parse()
            .expect("letters, digits and hyphens are a name"),
    };
    let key = SignerKey::from_seed(name, Algorithm::CosignatureV1, &entropy.bytes());
    let text = key.to_secret_text() + "\n";
    replace_private_file(&*env.disk, &path, text.as_bytes())
        .map_err(|error| Error::io(path.display(), &error))?;
    Ok(key)
}

/// The witness's key in `dir`, if there is one.
///
/// # Errors
/// As [`make_key`].
fn open_key(env: &Env, dir: &Path, name: Option<&KeyName>) -> Result<Option<SignerKey>> {
    let path = dir.join(KEY_FILE);
    let io = |error: &std::io::Error| Error::io(path.display(), error);
    let file = match env.disk.open(&path, Open::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(&error)),
    };
    if !env.disk.is_private(&path).map_err(|error| io(&error))? {
        return Err(Error::new(Code::KeysExposed, format!("{} is open to other users", path.display())));
    }
    if file.len().map_err(|error| io(&error))? > KEY_BYTES_MAX {
        return Err(unreadable(&path, "it is too long"));
    }
    let bytes = read_file(&*env.disk, &path).map_err(|error| io(&error))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| unreadable(&path, "it is not UTF-8"))?;
    let key: SignerKey = text.trim_end().parse().map_err(|error| unreadable(&path, error))?;
    let public = key.verifier();
    if public.algorithm() != Algorithm::CosignatureV1 {
        return Err(unreadable(&path, "it is one that signs as a log"));
    }
    match name {
        Some(name) if public.name() != name => {
            Err(Error::new(Code::WrongKey, format!("the key in {} has another name", path.display()))
                .expected(format!("no --name, or another directory for the witness {name}"))
                .found(public.name().as_str()))
        }
        _ => Ok(Some(key)),
    }
}

fn unreadable(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::new(Code::WrongKey, format!("{} is no key of a witness: {why}", path.display()))
        .expected("PRIVATE+KEY+name+id+base64, as `graven witness keygen` writes it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_made_once_and_for_its_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("witness");
        let env = Env::real();
        let name = "witness.example/1".parse().unwrap();
        let first = make_key(&env, &dir, Some(&name)).unwrap();
        let again = make_key(&env, &dir, None).unwrap();
        assert_eq!(first.verifier(), again.verifier());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&dir.join(KEY_FILE))), (0o700, 0o600));

        let other = "another.example".parse().unwrap();
        assert_eq!(make_key(&env, &dir, Some(&other)).unwrap_err().code, Code::WrongKey);
        fs::set_permissions(dir.join(KEY_FILE), fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(make_key(&env, &dir, None).unwrap_err().code, Code::KeysExposed);
    }

    #[test]
    fn a_file_that_is_no_key_is_refused_without_being_shown() {
        let dir = tempfile::tempdir().unwrap();
        let env = Env::real();
        make_key(&env, dir.path(), None).unwrap();
        let key = fs::read_to_string(dir.path().join(KEY_FILE)).unwrap();
        let log = SignerKey::from_seed("log.example".parse().unwrap(), Algorithm::Ed25519, &[1; 32]);
        let cut = &key[..key.len() - 3];
        for odd in ["", "\u{e4}", cut, &log.to_secret_text()] {
            fs::write(dir.path().join(KEY_FILE), odd).unwrap();
            let error = make_key(&env, dir.path(), None).unwrap_err();
            assert_eq!(error.code, Code::WrongKey, "{odd:?}");
            assert!(odd.is_empty() || !error.to_string().contains(odd), "{error}");
        }
    }
}
