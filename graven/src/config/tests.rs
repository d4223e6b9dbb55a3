use super::*;
use std::io::Write as _;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn variables(pairs: &[(&str, &str)]) -> impl Iterator<Item = (OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect::<Vec<_>>().into_iter()
}

#[test]
fn later_layers_win_over_earlier_ones() {
    let file =
        file("listen = '127.0.0.1:1'\ndata = '/a'\n[store]\nsegment_size = '1 MiB'\nheads_max = 5000\n");
    let environment = variables(&[("GRAVEN_LISTEN", "127.0.0.1:2"), ("GRAVEN_DATA", "/b"), ("PATH", "/bin")]);
    let config = Config::default().load(Some(file.path()), environment, &[("data", "/c".into())]).unwrap();
    assert_eq!(config.listen.port(), 2);
    assert_eq!(config.data.as_deref(), Some(Path::new("/c")));
    assert_eq!((config.segment_bytes, config.heads_max), (1 << 20, 5_000));
    assert_eq!(config.shutdown_grace, Duration::from_secs(10));
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    for (text, nearest) in [
        ("lisen = '127.0.0.1:1'", "\"listen\""),
        ("[store]\nsegment_sice = '1 MiB'", "\"store.segment_size\""),
        ("segment_size = '1 MiB'", "\"store.segment_size\""),
        ("[log]\nlevle = 'info'", "\"log.level\""),
    ] {
        let error = Config::default().load(Some(file(text).path()), variables(&[]), &[]).unwrap_err();
        assert_eq!(error.code, Code::InvalidConfig);
        assert!(error.message.contains("did you mean") && error.message.contains(nearest), "{error}");
    }
    let error = Config::default().load(Some(file("zebra = 1").path()), variables(&[]), &[]).unwrap_err();
    assert!(error.message.ends_with("unknown setting \"zebra\""), "{error}");
}

#[test]
fn an_unknown_variable_is_refused_with_the_nearest_one() {
    let error = Config::default().load(None, variables(&[("GRAVEN_LISEN", "x")]), &[]).unwrap_err();
    assert!(error.message.contains("did you mean \"GRAVEN_LISTEN\"?"), "{error}");
    let error = graven_variables(variables(&[("GRAVEN_URI", "x")])).unwrap_err();
    assert!(error.message.contains("did you mean \"GRAVEN_URL\"?"), "{error}");
}

#[test]
fn a_value_that_does_not_fit_names_place_and_key() {
    for (text, expected) in [
        ("[store]\nsegment_size = '12 parsecs'", "a size"),
        ("[store]\nsegment_size = '1 KiB'", "1 MiB to 1 GiB"),
        ("shutdown_grace = 5", "a duration"),
        ("listen = 'nowhere'", "an address"),
        ("insecure = 'maybe'", "true or false"),
        ("data = [1]", "a text"),
        ("log = 'debug'", "unknown setting \"log\""),
        ("= 1", "not TOML"),
    ] {
        let file = file(text);
        let error = Config::default().load(Some(file.path()), variables(&[]), &[]).unwrap_err();
        assert_eq!(error.code, Code::InvalidConfig);
        assert!(error.to_string().contains(expected), "{text}: {error}");
        assert!(error.message.contains(&file.path().display().to_string()), "{error}");
    }
    let error = Config::default().load(Some(Path::new("/no/such/file")), variables(&[]), &[]).unwrap_err();
    assert!(error.message.contains("cannot be read"), "{error}");
}

#[test]
fn every_setting_is_documented() {
    let docs = include_str!("../../../docs/configuration.md");
    for setting in SETTINGS {
        assert!(
            docs.contains(&format!("`{}`", setting.key)),
            "{} is not in docs/configuration.md",
            setting.key
        );
        assert!(
            docs.contains(&format!("`{}`", setting.variable())),
            "{} is not documented",
            setting.variable()
        );
    }
}
