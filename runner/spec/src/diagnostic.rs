//! What is wrong with a spec, where, and what to try.

use std::collections::HashSet;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};
use clr_terminal::words;
use unicode_width::UnicodeWidthStr;

use super::source::{Origin, SourceFile, Span};

/// The severity of a diagnostic: errors stand in the way of a plan, warnings do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error,
    /// Yes, though it is most likely not what was meant.
    Warning,
}

/// One problem. `code` is stable, such as `spec::bounds`; everything else is for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// Names the rule, for tests and searches.
    pub code: &'static str,
    /// One line that says what is wrong.
    pub title: String,
    /// The text that is underlined with `^`.
    pub span: Span,
    /// Said beside the underlined text; may be empty. Further lines stand below.
    pub text: String,
    /// Other places that belong to the problem, underlined with `-`.
    pub others: Vec<(Span, String)>,
    /// Suggestions, each a line.
    pub help: Vec<String>,
}

/// More problems than anyone reads at once. Each takes time by the length of the text.
const MOST_SHOWN: usize = 100;

/// Renders in rustc's layout, without colour. Each diagnostic ends its line, and a blank line stands between two.
pub fn render(diagnostics: &[Diagnostic], source: &SourceFile) -> String {
    render_for(diagnostics, source, None, false)
}

/// As [`render`], for a terminal: in lines of at most `width` characters, broken between words, and with colours or without.
pub fn render_for(diagnostics: &[Diagnostic], source: &SourceFile, width: Option<usize>, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = width.map_or(renderer.clone(), |width| renderer.term_width(width));
    let mut out = String::new();
    for diagnostic in diagnostics.iter().take(MOST_SHOWN) {
        if !out.is_empty() {
            out.push('\n');
        }
        let fitted = width.map(|width| diagnostic.fitted(source, width));
        out.push_str(&renderer.render(&[fitted.as_ref().unwrap_or(diagnostic).group(source)]));
        out.push('\n');
    }
    if diagnostics.len() > MOST_SHOWN {
        out.push_str(&format!("\nand {} more problems\n", diagnostics.len() - MOST_SHOWN));
    }
    out
}

impl Diagnostic {
    /// A problem at `span`; the builder methods add the rest.
    pub fn new(code: &'static str, span: Span, title: impl Into<String>) -> Diagnostic {
        let (severity, title) = (Severity::Error, title.into());
        Diagnostic { severity, code, title, span, text: String::new(), others: Vec::new(), help: Vec::new() }
    }

    /// A warning: of something allowed that is most likely not meant.
    pub fn warning(code: &'static str, span: Span, title: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::new(code, span, title) }
    }

    /// Said beside the underlined text.
    pub fn text(mut self, text: impl Into<String>) -> Diagnostic {
        self.text = text.into();
        self
    }

    /// Another place that belongs to the problem; nothing where the value is a default and so has no place.
    pub fn also(mut self, span: Option<&Span>, text: impl Into<String>) -> Diagnostic {
        self.others.extend(span.map(|span| (span.clone(), text.into())));
        self
    }

    /// Adds a suggestion.
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help.push(help.into());
        self
    }

    /// The text that a span is of.
    fn text_of<'a>(span: &'a Span, source: &'a SourceFile) -> &'a str {
        match &span.origin {
            Origin::Spec => &source.text,
            Origin::CommandLine { shown, .. } => shown,
        }
    }

    /// With its sentences in lines of at most `width` characters. What does not fit beside the underlined text stands below.
    fn fitted(&self, source: &SourceFile, width: usize) -> Diagnostic {
        let mut fitted = self.clone();
        let level = if self.severity == Severity::Error { "error" } else { "warning" };
        fitted.title = in_lines(&self.title, width, level.len() + self.code.len() + "[]: ".len());

        let spans = || std::iter::once(&self.span).chain(self.others.iter().map(|(span, _)| span));
        let line_number = |span: &Span| {
            1 + Diagnostic::text_of(span, source).bytes().take(span.end).filter(|byte| *byte == b'\n').count()
        };
        let gutter = spans().map(line_number).max().unwrap_or(1).to_string().len() + 1;

        let text = Diagnostic::text_of(&self.span, source);
        let start = text.floor_char_boundary(self.span.start.min(text.len()));
        let end = text.ceil_char_boundary(self.span.end.min(text.len())).max(start);
        let line = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        // Tabs are shown as four spaces.
        let shown = |text: &str| text.replace('\t', "    ").width();
        let underlined = gutter + "| ".len() + shown(&text[line..start]) + shown(&text[start..end]).max(1);
        let label = self.text.lines().next().unwrap_or_default();
        if !label.is_empty() && underlined + " ".len() + label.width() > width {
            fitted.text = format!("\n{}", self.text);
        }
        let (note, help) = (gutter + "= note: ".len(), gutter + "= help: ".len());
        if let Some((label, rest)) = fitted.text.split_once('\n') {
            let lines: Vec<String> = rest.lines().map(|line| in_lines(line.trim(), width, note)).collect();
            fitted.text = format!("{label}\n{}", lines.join("\n"));
        }
        fitted.help = self.help.iter().map(|text| in_lines(text, width, help)).collect();
        fitted
    }

    fn group<'a>(&'a self, source: &'a SourceFile) -> Group<'a> {
        let level = if self.severity == Severity::Error { Level::ERROR } else { Level::WARNING };
        let mut group = Group::with_title(level.primary_title(self.title.as_str()).id(self.code));
        let mut origins = vec![&self.span.origin];
        for (span, _) in &self.others {
            if !origins.contains(&&span.origin) {
                origins.push(&span.origin);
            }
        }
        for origin in origins {
            let (path, text): (&str, &str) = match origin {
                Origin::Spec => (&source.name, &source.text),
                Origin::CommandLine { shown, .. } => ("command line", shown),
            };
            let mut snippet = Snippet::source(text).path(path);
            if self.span.origin == *origin {
                let label = self.text.lines().next().unwrap_or_default();
                snippet = snippet.annotation(annotation(AnnotationKind::Primary, &self.span, label, text));
            }
            for (span, label) in self.others.iter().filter(|(span, _)| span.origin == *origin) {
                snippet = snippet.annotation(annotation(AnnotationKind::Context, span, label, text));
            }
            group = group.element(snippet);
        }
        // Only one line fits beside what is underlined.
        if let Some((_, rest)) = self.text.split_once('\n') {
            let lines: Vec<&str> = rest.lines().map(str::trim).collect();
            group = group.element(Level::NOTE.message(lines.join("\n")));
        }
        for help in &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        group
    }
}

/// A text in lines that, after `indent` characters, are at most `width` long.
fn in_lines(text: &str, width: usize, indent: usize) -> String {
    words::wrapped(text, Some(width.saturating_sub(indent)), 0)
}

fn annotation<'a>(kind: AnnotationKind, span: &Span, label: &'a str, text: &str) -> Annotation<'a> {
    // An end of file has no character to underline, and a span may not cut one in two.
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let end = text.ceil_char_boundary(span.end.min(text.len())).max(start);
    let annotation = kind.span(start..end);
    if label.is_empty() { annotation } else { annotation.label(label) }
}

/// Collects diagnostics, each rule at each place once: the cells of a grid meet the same mistake again and again.
#[derive(Debug, Default)]
pub struct Problems {
    list: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    seen: HashSet<(&'static str, Span)>,
}

impl Problems {
    /// Adds a problem or a warning unless this rule was already broken at this place.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.seen.insert((diagnostic.code, diagnostic.span.clone())) {
            match diagnostic.severity {
                Severity::Error => self.list.push(diagnostic),
                Severity::Warning => self.warnings.push(diagnostic),
            }
        }
    }

    /// True if no error was found so far.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All problems but warnings in the order of the text, those of the command line last.
    pub fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.list.sort_by(|a, b| (&a.span, a.code).cmp(&(&b.span, b.code)));
        self.list
    }

    /// Takes the warnings, in the same order.
    pub fn take_warnings(&mut self) -> Vec<Diagnostic> {
        self.warnings.sort_by(|a, b| (&a.span, a.code).cmp(&(&b.span, b.code)));
        std::mem::take(&mut self.warnings)
    }
}
