//! Who the node is: the environment's word before the file's, and the host's name after both.

use super::Surroundings;
use crate::config::problems::Problem;
use crate::config::raw;
use crate::config::types::Node;
use crate::config::values::Label;

pub(super) fn check(raw: &raw::Node, around: &Surroundings<'_>, problems: &mut Vec<Problem>) -> Option<Node> {
    let in_file = |_: &mut Vec<Problem>| raw.region.plain();
    let region = overridden(&["LIVECHAIN_REGION"], around, problems, in_file);
    let in_file = |problems: &mut Vec<Problem>| match &raw.id {
        Some(id) => id.plain(),
        None => host_name(around, problems),
    };
    let id = overridden(&["LIVECHAIN_NODE_ID", "LASSO_NODE_ID"], around, problems, in_file);
    Some(Node { region: region?, id: id? })
}

/// The first of these variables that is set and not empty, or else what is in the file.
fn overridden(
    names: &[&str],
    around: &Surroundings<'_>,
    problems: &mut Vec<Problem>,
    in_file: impl FnOnce(&mut Vec<Problem>) -> Option<String>,
) -> Option<String> {
    let value = |name: &&str| Some((*name).to_owned()).zip((around.environment)(name));
    let set = names.iter().filter_map(value).find(|(_, value)| !value.is_empty());
    let Some((name, value)) = set else {
        return in_file(problems);
    };
    match Label::checked(&value) {
        Ok(label) => Some(label),
        Err(refusal) => {
            problems.push(Problem::outside(format!("the environment variable `{name}`: {refusal}")));
            None
        }
    }
}

/// The host's name as the environment tells it; a machine without one still gets a node.
fn host_name(around: &Surroundings<'_>, problems: &mut Vec<Problem>) -> Option<String> {
    let Some(name) = (around.environment)("HOSTNAME").filter(|name| !name.is_empty()) else {
        return Some("livechain".to_owned());
    };
    match Label::checked(&name) {
        Ok(label) => Some(label),
        Err(refusal) => {
            let message =
                format!("the host name cannot be this node's id ({refusal}): set `node.id` or LIVECHAIN_NODE_ID");
            problems.push(Problem::outside(message));
            None
        }
    }
}
