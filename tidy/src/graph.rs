//! Who uses whom, and what is wrong or right with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Names, and the names that each uses, with one example of it.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    uses: BTreeMap<String, BTreeMap<String, String>>,
}

impl Graph {
    /// Adds a name that may use nothing.
    pub fn node(&mut self, name: &str) {
        self.uses.entry(name.to_owned()).or_default();
    }

    /// Adds that the one uses the other, as `example` shows.
    pub fn add(&mut self, user: &str, used: &str, example: &str) {
        self.node(used);
        self.uses.entry(user.to_owned()).or_default().entry(used.to_owned()).or_insert_with(|| example.to_owned());
    }

    /// A shortest ring, each name followed by one that it uses; none where all look down.
    pub fn ring(&self) -> Option<Vec<&str>> {
        self.uses.keys().filter_map(|start| self.way_back(start)).min_by_key(Vec::len)
    }

    /// The shortest way from a name back to it.
    fn way_back<'g>(&'g self, start: &'g str) -> Option<Vec<&'g str>> {
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut reached = vec![start];
        while !reached.is_empty() {
            let mut next = Vec::new();
            for from in reached {
                for to in self.uses[from].keys() {
                    if to == start {
                        let mut way = vec![from];
                        while let Some(before) = came_from.get(way[way.len() - 1]) {
                            way.push(before);
                        }
                        way.reverse();
                        return Some(way);
                    }
                    if to != from && !came_from.contains_key(&**to) {
                        came_from.insert(to, from);
                        next.push(&**to);
                    }
                }
            }
            reached = next;
        }
        None
    }

    /// A ring with where it comes from, a line for each step.
    pub fn explained(&self, ring: &[&str]) -> String {
        let steps = ring.iter().zip(ring.iter().cycle().skip(1));
        steps.map(|(user, used)| format!("  {user} uses {used}: {}\n", self.uses[*user][*used])).collect()
    }

    /// The names in levels, each of which uses only those of levels before it. What is in a ring, or above one, has none.
    fn levels(&self) -> Vec<Vec<&str>> {
        let (mut levels, mut placed) = (Vec::new(), BTreeSet::new());
        loop {
            let is_next = |(name, used): &(&String, &BTreeMap<String, String>)| {
                !placed.contains(name.as_str()) && used.keys().all(|used| placed.contains(used.as_str()))
            };
            let level: Vec<&str> = self.uses.iter().filter(is_next).map(|(name, _)| name.as_str()).collect();
            if level.is_empty() {
                return levels;
            }
            placed.extend(level.iter().copied());
            levels.push(level);
        }
    }
}

/// A line for each name with its level and what it uses, the lowest first; no level is in a ring, or above one.
impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let levels = self.levels();
        let rest =
            self.uses.keys().map(String::as_str).filter(|name| !levels.iter().flatten().any(|placed| placed == name));
        let rest: Vec<&str> = rest.collect();
        let numbered = levels.iter().enumerate().map(|(number, level)| (number.to_string(), level));
        for (number, level) in numbered.chain([("-".to_owned(), &rest)]) {
            for name in level {
                let used: Vec<&str> = self.uses[*name].keys().map(String::as_str).collect();
                writeln!(f, "{number:>4}  {name}{}{}", if used.is_empty() { "" } else { " -> " }, used.join(", "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_ring_is_found_and_explained() {
        let mut graph = Graph::default();
        for (user, used) in [("a", "b"), ("b", "c"), ("c", "d"), ("d", "b"), ("c", "e"), ("e", "c")] {
            graph.add(user, used, &format!("{user}.rs"));
        }
        assert_eq!(graph.ring(), Some(vec!["c", "e"]));
        assert_eq!(graph.explained(&["c", "e"]), "  c uses e: c.rs\n  e uses c: e.rs\n");
    }

    #[test]
    fn without_a_ring_there_are_levels() {
        let mut graph = Graph::default();
        graph.node("alone");
        for (user, used) in [("top", "left"), ("top", "right"), ("left", "bottom"), ("right", "bottom")] {
            graph.add(user, used, "");
        }
        assert_eq!(graph.ring(), None);
        let expected =
            "   0  alone\n   0  bottom\n   1  left -> bottom\n   1  right -> bottom\n   2  top -> left, right\n";
        assert_eq!(graph.to_string(), expected);
    }
}
