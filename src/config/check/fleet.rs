//! `[tenants.fleet]`: an address, and whom to trust there.

use super::Surroundings;
use super::relations::need;
use crate::config::given::Given;
use crate::config::problems::Problem;
use crate::config::raw;
use crate::config::types::Fleet;

pub(super) fn check(
    given: &Given<raw::Fleet>,
    around: &Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Fleet> {
    let raw = given.get()?;
    need(&raw.url, "url", "section", given, problems);
    let ca_file = match &raw.ca_file {
        Some(file) => Some(file.plain()?),
        None => None,
    };
    if let (Some(file), Some(written)) = (&ca_file, &raw.ca_file)
        && let Some(fault) = (around.ca_fault)(file)
    {
        problems
            .push(Problem::maybe_at(written.span(), format!("no certificates can be read from this file: {fault}")));
    }
    let url = raw.url.plain()?;
    if let Some(written) = &raw.ca_file
        && !has_tls(url.expose())
    {
        problems
            .push(Problem::maybe_at(written.span(), "`url` is one without TLS: `ca_file` is for `rediss`".to_owned()));
    }
    Some(Fleet { url, ca_file })
}

fn has_tls(address: &str) -> bool {
    address.split_once(':').is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("rediss"))
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn a_store_is_an_address_of_redis() {
        let parse = |fleet: &str| {
            let text = format!(
                "[tenants]\nstore = \"sqlite:l.db\"\npepper = \"${{PEPPER}}\"\n[tenants.fleet]\n{fleet}\n\
                 [[chains]]\nname = \"a\"\nid = 1\n[[chains.providers]]\nid = \"a\"\nurl = \"http://a.example\"\n"
            );
            let environment =
                |name: &str| (name == "PEPPER").then(|| "a pepper of thirty-two bytes, and a few".to_owned());
            Config::parse(&text, "test", environment, &[0]).map_err(|problems| problems.to_string())
        };
        for url in ["redis://127.0.0.1", "redis://:s3cret@r.example:6380/2", "rediss://u:s3cret@r.example"] {
            let config = parse(&format!("url = \"{url}\"")).unwrap();
            let fleet = config.tenants.unwrap().fleet.unwrap();
            assert_eq!(fleet.url.expose(), url);
        }
        for (fleet, words) in [
            ("", "no `url`"),
            ("url = \"http://u:s3cret@r.example\"", "expected the address"),
            ("url = \"redis://\"", "expected the address"),
            ("url = \"redis://r.example/s3cret\"", "expected the address"),
            ("url = \"unix:///tmp/s3cret\"", "expected the address"),
            ("url = \"redis://r.example\"\nnodes = 3", "unknown key"),
            ("url = \"redis://:s3cret@r.example\"\nca_file = \"ca.pem\"", "`ca_file` is for `rediss`"),
        ] {
            let problems = parse(fleet).expect_err(fleet);
            assert!(problems.contains(words) && !problems.contains("s3cret"), "{fleet}: {problems}");
        }
    }
}
