//! Things that name each other: sites that follow sites, tasks made of tasks, defaults made of variables.
//!
//! Nothing here recurses, so a file with a chain of a million links overflows no stack.

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Walk {
    /// Each cycle, from the node where it was entered, without its repetition.
    pub cycles: Vec<Vec<usize>>,
    /// All nodes; where there is no cycle, those that a node names come before it.
    pub order: Vec<usize>,
}

/// Follows all edges. `edges[i]` are the nodes that node `i` names; numbers out of range are ignored.
pub fn walk(edges: &[Vec<usize>]) -> Walk {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut found = Walk::default();
    let mut marks = vec![Mark::New; edges.len()];
    for start in 0..edges.len() {
        // The open path: a node, and how many of its edges were followed.
        let mut path: Vec<(usize, usize)> = Vec::new();
        let mut next = Some(start);
        loop {
            if let Some(node) = next.take() {
                match marks.get(node).copied() {
                    Some(Mark::New) => {
                        if let Some(mark) = marks.get_mut(node) {
                            *mark = Mark::Open;
                        }
                        path.push((node, 0));
                    }
                    Some(Mark::Open) => {
                        let from = path.iter().position(|(open, _)| *open == node).unwrap_or_default();
                        found.cycles.push(path.iter().skip(from).map(|(open, _)| *open).collect());
                    }
                    Some(Mark::Done) | None => {}
                }
            }
            let Some((node, followed)) = path.last_mut() else { break };
            next = edges.get(*node).and_then(|targets| targets.get(*followed)).copied();
            *followed += 1;
            if next.is_none() {
                found.order.push(*node);
                if let Some(mark) = marks.get_mut(*node) {
                    *mark = Mark::Done;
                }
                path.pop();
            }
        }
    }
    found
}

/// A cycle in words: `a -> b -> a`.
pub fn chain<'a>(cycle: &[usize], name: impl Fn(usize) -> &'a str) -> String {
    let names: Vec<_> = cycle.iter().chain(cycle.first()).map(|node| format!("`{}`", name(*node))).collect();
    names.join(" -> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_are_found_once() {
        assert_eq!(walk(&[vec![1], vec![2], vec![1], vec![3]]).cycles, [vec![1, 2], vec![3]]);
        assert_eq!(walk(&[vec![1, 2], vec![2], vec![]]), Walk { cycles: vec![], order: vec![2, 1, 0] });
        assert_eq!(chain(&[0, 1], |i| ["a", "b"][i]), "`a` -> `b` -> `a`");
    }

    #[test]
    fn a_long_chain_overflows_no_stack() {
        let edges: Vec<_> = (1..=1_000_000).map(|next| vec![next]).collect();
        let found = walk(&edges);
        assert_eq!((found.cycles.len(), found.order.first()), (0, Some(&999_999)));
    }
}
