//! Everything that is wrong with a config, drawn over the operator's own lines.
//!
//! The text that is kept for drawing is the masked one: a [`Problems`] holds no secret, so that none can leave it by a
//! `Debug`, a log line or a later change of how it is drawn.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::limits;

/// Where a problem stands, both counted from 1; columns are characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub struct Problem {
    message: String,
    /// Byte offsets; none when the problem is outside the file, or something that is not in it.
    span: Option<Range<usize>>,
    position: Option<Position>,
    /// Another place that explains this one, and how.
    also: Option<(Range<usize>, &'static str)>,
}

impl Problem {
    pub(super) fn at(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { message: message.into(), span: Some(span), position: None, also: None }
    }

    pub(super) fn outside(message: impl Into<String>) -> Self {
        Self { message: message.into(), span: None, position: None, also: None }
    }

    /// At a value if it is in the file.
    pub(super) fn maybe_at(span: Option<Range<usize>>, message: impl Into<String>) -> Self {
        Self { message: message.into(), span, position: None, also: None }
    }

    pub(super) fn also(mut self, span: Option<Range<usize>>, label: &'static str) -> Self {
        self.also = span.map(|span| (span, label));
        self
    }

    /// What is wrong, in words that hold no secret.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// None when the problem is outside the file, or something that is not in it.
    #[must_use]
    pub const fn position(&self) -> Option<Position> {
        self.position
    }
}

/// All problems of one config, in the order of the file. Its `Display` draws them without colour.
#[derive(Clone, Debug)]
pub struct Problems {
    origin: String,
    /// The file's text with everything masked that may not be shown.
    shown: String,
    list: Vec<Problem>,
}

impl Problems {
    /// `source` is the text that places count in, `shown` the same masked.
    pub(super) fn new(origin: &str, source: &str, shown: String, mut list: Vec<Problem>) -> Self {
        debug_assert_eq!(source.len(), shown.len(), "masking keeps places");
        for problem in &mut list {
            problem.position = problem.span.as_ref().map(|span| position(source, span.start));
        }
        list.sort_by_key(|problem| problem.span.as_ref().map(|span| span.start));
        Self { origin: origin.to_owned(), shown, list }
    }

    /// A file that cannot even be looked at.
    pub(super) fn of_file(origin: &str, message: String) -> Self {
        Self::new(origin, "", String::new(), vec![Problem::outside(message)])
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Draws every problem over its line, as rustc does.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut drawn = String::new();
        for problem in self.list.iter().take(limits::PROBLEMS_SHOWN_MAX) {
            // A comment that was blanked leaves spaces at a line's end.
            for line in renderer.render(&[self.draw(problem)]).lines() {
                drawn.push_str(line.trim_end());
                drawn.push('\n');
            }
            drawn.push('\n');
        }
        let count = self.list.len();
        let more = match count.saturating_sub(limits::PROBLEMS_SHOWN_MAX) {
            0 => String::new(),
            more => format!("… and {more} more\n\n"),
        };
        let noun = if count == 1 { "problem" } else { "problems" };
        format!("{drawn}{more}{count} {noun} in {}", self.origin)
    }

    fn draw<'a>(&'a self, problem: &'a Problem) -> Group<'a> {
        let title = Level::ERROR.primary_title(problem.message.as_str());
        let Some(span) = &problem.span else {
            return title.element(Origin::path(self.origin.as_str()));
        };
        let span = self.first_line(span);
        let also = problem.also.as_ref().map(|(also, label)| (self.first_line(also), *label));
        let first = also.as_ref().map_or(span.start, |(also, _)| also.start.min(span.start));
        let last = also.as_ref().map_or(span.end, |(also, _)| also.end.max(span.end));
        let window = self.line_start(first)..self.line_end(last);
        let within = |span: &Range<usize>| span.start - window.start..span.end - window.start;
        let mut snippet = Snippet::source(&self.shown[window.clone()])
            .line_start(position(&self.shown, window.start).line)
            .path(self.origin.as_str())
            .annotation(AnnotationKind::Primary.span(within(&span)));
        if let Some((also, label)) = &also {
            snippet = snippet.annotation(AnnotationKind::Context.span(within(also)).label(*label));
        }
        title.element(snippet)
    }

    /// What of a span is in its first line, within the text.
    fn first_line(&self, span: &Range<usize>) -> Range<usize> {
        let start = span.start.min(self.shown.len());
        start..span.end.clamp(start, self.line_end(start).max(start))
    }

    fn line_start(&self, at: usize) -> usize {
        self.shown[..at].rfind('\n').map_or(0, |end| end + 1)
    }

    fn line_end(&self, at: usize) -> usize {
        self.shown[at..].find('\n').map_or(self.shown.len(), |end| at + end)
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}

fn position(text: &str, at: usize) -> Position {
    let before = &text[..text.floor_char_boundary(at)];
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    Position {
        line: before.bytes().filter(|&byte| byte == b'\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    }
}
