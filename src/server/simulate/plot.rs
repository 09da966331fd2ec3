//! Plots as SVG text, legible on light and on dark ground.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 66.0;
const RIGHT: f64 = 20.0;
const BOTTOM: f64 = 52.0;

/// Colours for light ground, then for dark: `t` texts, `g` ground, `m` marks, `a` axes, `s` a line of a
/// series, `f` its bars.
const STYLE: &str = "<style>.t,text{fill:#1f2328}.g{fill:#fff}.m{stroke:#d8dee4}.a{stroke:#818b98}\
.s0{stroke:#0b6e4f}.f0{fill:#0b6e4f}.s1{stroke:#c8553d}.f1{fill:#c8553d}.s2{stroke:#3d5a80}.f2{fill:#3d5a80}\
.s3{stroke:#8250df}.f3{fill:#8250df}\
@media(prefers-color-scheme:dark){.t,text{fill:#e6edf3}.g{fill:#0d1117}.m{stroke:#2a313c}.a{stroke:#9198a1}\
.s0{stroke:#3fb68b}.f0{fill:#3fb68b}.s1{stroke:#f0883e}.f1{fill:#f0883e}.s2{stroke:#79a8e0}.f2{fill:#79a8e0}\
.s3{stroke:#c297ff}.f3{fill:#c297ff}}</style>\n";

/// How many colours there are.
const COLOURS: usize = 4;

/// A plot's words.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    /// Above it.
    pub title: &'a str,
    /// Below it, with the unit.
    pub x: &'a str,
    /// Beside it, with the unit.
    pub y: &'a str,
}

/// One line of a plot.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
    /// The points after these that were computed rather than run: drawn with dashes, and said so.
    pub extrapolated: Vec<(f64, f64)>,
}

/// How the axes are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from zero.
    Linear,
    /// By powers of ten, on both axes.
    Logarithmic,
}

/// Lines over a common axis.
pub fn lines(words: Words<'_>, scale: Scale, series: &[Series]) -> String {
    let points = series.iter().flat_map(|series| series.points.iter().chain(&series.extrapolated));
    let frame = Frame::around(scale, points.copied());
    let mut svg = frame.open(words);
    for (index, series) in series.iter().enumerate() {
        frame.line(&mut svg, index, &series.points, "");
        if let Some(&last) = series.points.last().filter(|_| !series.extrapolated.is_empty()) {
            let beyond: Vec<_> = std::iter::once(last).chain(series.extrapolated.iter().copied()).collect();
            frame.line(&mut svg, index, &beyond, DASHES);
        }
    }
    let extrapolates = series.iter().any(|series| !series.extrapolated.is_empty());
    let names = series.iter().map(|series| series.name.as_str());
    legend(&mut svg, names.chain(extrapolates.then_some(EXTRAPOLATED)));
    svg.push_str("</svg>\n");
    svg
}

/// What the legend says of dashes.
const EXTRAPOLATED: &str = "extrapolated, not run";

const DASHES: &str = " stroke-dasharray=\"6 5\"";

/// Names in a row between the title and the plot.
fn legend<'a>(svg: &mut String, names: impl Iterator<Item = &'a str>) {
    /// About the width of a character.
    const CHARACTER: f64 = 6.6;
    let (mut x, y) = (LEFT, TOP - 14.0);
    for (index, name) in names.enumerate() {
        let (class, dashes) =
            if name == EXTRAPOLATED { ("a".to_owned(), DASHES) } else { (colour('s', index), "") };
        push(
            svg,
            format_args!(
                "<path class=\"{class}\" stroke-width=\"2\"{dashes} d=\"M{x:.0} {}h20\"/>\
                 <text x=\"{:.0}\" y=\"{y}\">{}</text>\n",
                y - 4.0,
                x + 25.0,
                escaped(name),
            ),
        );
        x += 38.0 + CHARACTER * name.chars().count() as f64;
    }
}

fn colour(kind: char, index: usize) -> String {
    format!("{kind}{}", index % COLOURS)
}

/// Bars at 0, 1, 2 …, one for each number of each series; the later series before the earlier.
pub fn bars(words: Words<'_>, series: &[(&str, &[u64])]) -> String {
    let count = series.iter().map(|(_, heights)| heights.len()).max().unwrap_or(0);
    let highest = series.iter().flat_map(|(_, heights)| heights.iter().copied()).max().unwrap_or(0);
    let frame = Frame::around(Scale::Linear, [(0.0, 0.0), (count as f64, highest as f64)].into_iter());
    let mut svg = frame.open(words);
    for (index, (_, heights)) in series.iter().enumerate() {
        push(&mut svg, format_args!("<path class=\"{}\" d=\"", colour('f', index)));
        for (at, &height) in heights.iter().enumerate().filter(|&(_, &height)| height > 0) {
            let (left, right) = (frame.x(at as f64), frame.x(at as f64 + 1.0));
            let (top, width) = (frame.y(height as f64), (right - left - 0.4).max(0.5));
            push(&mut svg, format_args!("M{left:.1} {:.0}V{top:.1}h{width:.1}V{0:.0}", TOP + HEIGHT));
        }
        svg.push_str("\"/>\n");
    }
    legend(&mut svg, series.iter().map(|(name, _)| *name));
    svg.push_str("</svg>\n");
    svg
}

/// Where the axes are and what they span.
struct Frame {
    scale: Scale,
    x: (f64, f64),
    y: (f64, f64),
}

impl Frame {
    fn around(scale: Scale, points: impl Iterator<Item = (f64, f64)>) -> Self {
        let mut x = (f64::MAX, f64::MIN);
        let mut y = (if scale == Scale::Linear { 0.0 } else { f64::MAX }, f64::MIN);
        for (px, py) in points {
            x = (x.0.min(px), x.1.max(px));
            y = (y.0.min(py), y.1.max(py));
        }
        if scale == Scale::Logarithmic {
            x = (x.0.max(1e-9), x.1.max(1e-9));
            y = (10f64.powf(y.0.max(1e-9).log10().floor()), 10f64.powf(y.1.max(1e-9).log10().ceil()));
        }
        let widened = |(low, high): (f64, f64)| if low < high { (low, high) } else { (low, low + 1.0) };
        Self { scale, x: widened(x), y: widened(y) }
    }

    fn along(&self, value: f64, (low, high): (f64, f64)) -> f64 {
        match self.scale {
            Scale::Linear => (value - low) / (high - low),
            Scale::Logarithmic => (value.max(1e-9) / low).log10() / (high / low).log10(),
        }
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + WIDTH * self.along(value, self.x)
    }

    fn y(&self, value: f64) -> f64 {
        TOP + HEIGHT * (1.0 - self.along(value, self.y))
    }

    fn line(&self, svg: &mut String, index: usize, points: &[(f64, f64)], dashes: &str) {
        let class = colour('s', index);
        push(
            svg,
            format_args!("<polyline class=\"{class}\" fill=\"none\" stroke-width=\"2\"{dashes} points=\""),
        );
        for (place, &(x, y)) in points.iter().enumerate() {
            let space = if place > 0 { " " } else { "" };
            push(svg, format_args!("{space}{:.1},{:.1}", self.x(x), self.y(y)));
        }
        svg.push_str("\"/>\n");
    }

    /// The values at which an axis is marked.
    fn marks(&self, (low, high): (f64, f64)) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let rough = (high - low) / 6.0;
                let power = 10f64.powf(rough.log10().floor());
                let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * power).into_iter().find(|&step| step >= rough);
                let step = step.unwrap_or(rough);
                let first = (low / step).ceil();
                (0..20)
                    .map(|n| (first + f64::from(n)) * step)
                    .take_while(|&mark| mark <= high * 1.0001)
                    .collect()
            }
            Scale::Logarithmic => {
                let first = low.log10().ceil();
                (0..30)
                    .map(|n| 10f64.powf(first + f64::from(n)))
                    .take_while(|&mark| mark <= high * 1.0001)
                    .collect()
            }
        }
    }

    fn open(&self, words: Words<'_>) -> String {
        let (width, height) = (LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n{STYLE}\
             <rect class=\"g\" width=\"{width}\" height=\"{height}\"/>\n\
             <text x=\"{LEFT}\" y=\"24\" font-size=\"15\" font-weight=\"bold\">{}</text>\n",
            escaped(words.title)
        );
        for mark in self.marks(self.y) {
            let y = self.y(mark);
            push(
                &mut svg,
                format_args!(
                    "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" class=\"m\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
                    LEFT + WIDTH,
                    LEFT - 6.0,
                    y + 4.0,
                    number(mark)
                ),
            );
        }
        for mark in self.marks(self.x) {
            let x = self.x(mark);
            push(
                &mut svg,
                format_args!(
                    "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\" class=\"a\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
                    TOP + HEIGHT,
                    TOP + HEIGHT + 5.0,
                    TOP + HEIGHT + 19.0,
                    number(mark)
                ),
            );
        }
        let (middle_x, middle_y) = (LEFT + WIDTH / 2.0, TOP + HEIGHT / 2.0);
        push(
            &mut svg,
            format_args!(
                "<text x=\"{middle_x}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n\
             <text transform=\"translate(16 {middle_y}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                height - 12.0,
                escaped(words.x),
                escaped(words.y)
            ),
        );
        svg
    }
}

fn push(svg: &mut String, text: std::fmt::Arguments<'_>) {
    svg.write_fmt(text).expect("a string takes everything");
}

fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        1e6.. => format!("{}M", value / 1e6),
        1e4.. => format!("{}k", value / 1e3),
        1.0.. => format!("{value}"),
        _ => format!("{value:.3}").trim_end_matches('0').to_owned(),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: Words<'_> = Words { title: "a < b & c", x: "minutes", y: "messages" };

    #[test]
    fn a_plot_is_well_formed_and_inside_its_frame() {
        let points = (0..50).map(|n| (f64::from(n), f64::from(n * n))).collect();
        let series = [Series { name: "ours".into(), points, extrapolated: vec![(60.0, 3_600.0)] }];
        let svg = lines(WORDS, Scale::Linear, &series);
        assert!(svg.contains("a &lt; b &amp; c") && svg.contains("stroke-dasharray"));
        assert!(svg.contains(EXTRAPOLATED));
        assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
        let polyline = svg.split("points=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a line");
        for point in polyline.split(' ') {
            let (x, y) = point.split_once(',').expect("two numbers");
            let (x, y): (f64, f64) = (x.parse().expect("a number"), y.parse().expect("a number"));
            assert!((LEFT..=LEFT + WIDTH).contains(&x) && (TOP..=TOP + HEIGHT).contains(&y), "{point}");
        }
    }

    #[test]
    fn nothing_at_all_can_be_plotted() {
        for scale in [Scale::Linear, Scale::Logarithmic] {
            let series = [Series { points: vec![(0.0, 0.0)], ..Series::default() }];
            let svg = lines(WORDS, scale, &series);
            assert!(!svg.contains("NaN") && !svg.contains(EXTRAPOLATED));
        }
        assert!(!bars(WORDS, &[("none", &[0, 0])]).contains("NaN"));
        assert_eq!(bars(WORDS, &[("three", &[1, 0, 3]), ("two", &[1])]).matches('V').count(), 6);
    }
}
