//! Plots as SVG text.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 44.0;
const RIGHT: f64 = 20.0;
const BOTTOM: f64 = 52.0;
const COLOURS: [&str; 4] = ["#0b6e4f", "#c8553d", "#3d5a80", "#8d6a9f"];

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
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
    /// Drawn with dashes: computed rather than run.
    pub extrapolated: bool,
}

/// How the vertical axis is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from zero.
    Linear,
    /// By powers of ten, on both axes.
    Logarithmic,
}

/// Lines over a common axis.
pub fn lines(words: Words<'_>, scale: Scale, series: &[Series]) -> String {
    let frame = Frame::around(scale, series.iter().flat_map(|series| series.points.iter().copied()));
    let mut svg = frame.open(words);
    for (index, series) in series.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let points: Vec<String> =
            series.points.iter().map(|&(x, y)| format!("{:.1},{:.1}", frame.x(x), frame.y(y))).collect();
        let dashes = if series.extrapolated { " stroke-dasharray=\"6 5\"" } else { "" };
        push(
            &mut svg,
            format_args!(
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dashes} points=\"{}\"/>\n",
                points.join(" ")
            ),
        );
        let y = TOP + 14.0 + 17.0 * index as f64;
        push(
            &mut svg,
            format_args!(
                "<line x1=\"{x1}\" y1=\"{ly}\" x2=\"{x2}\" y2=\"{ly}\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}/>\
             <text x=\"{tx}\" y=\"{y}\">{}</text>\n",
                escaped(&series.name),
                x1 = LEFT + 12.0,
                x2 = LEFT + 36.0,
                ly = y - 4.0,
                tx = LEFT + 42.0,
            ),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// Bars, one for each number, at 0, 1, 2 …
pub fn bars(words: Words<'_>, heights: &[u64]) -> String {
    let corners = [(0.0, 0.0), (heights.len() as f64, heights.iter().copied().max().unwrap_or(0) as f64)];
    let frame = Frame::around(Scale::Linear, corners.into_iter());
    let mut svg = frame.open(words);
    for (index, &height) in heights.iter().enumerate() {
        let (left, right) = (frame.x(index as f64), frame.x(index as f64 + 1.0));
        let top = frame.y(height as f64);
        push(
            &mut svg,
            format_args!(
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"/>\n",
                (right - left - 0.5).max(0.5),
                TOP + HEIGHT - top,
                COLOURS[0],
            ),
        );
    }
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
             font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"24\" font-size=\"15\" font-weight=\"bold\">{}</text>\n",
            escaped(words.title)
        );
        for mark in self.marks(self.y) {
            let y = self.y(mark);
            push(
                &mut svg,
                format_args!(
                    "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
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
                    "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"#888\"/>\
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
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const WORDS: Words<'_> = Words { title: "a < b & c", x: "minutes", y: "messages" };

    #[test]
    fn a_plot_is_well_formed_and_inside_its_frame() {
        let points = (0..50).map(|n| (f64::from(n), f64::from(n * n))).collect();
        let series = [Series { name: "ours".into(), points, extrapolated: true }];
        let svg = lines(WORDS, Scale::Linear, &series);
        assert!(svg.contains("a &lt; b &amp; c") && svg.contains("stroke-dasharray"));
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
            let series = [Series { name: String::new(), points: vec![(0.0, 0.0)], extrapolated: false }];
            assert!(!lines(WORDS, scale, &series).contains("NaN"));
        }
        assert!(!bars(WORDS, &[0, 0]).contains("NaN"));
        assert_eq!(bars(WORDS, &[1, 2, 3]).matches("<rect").count(), 4);
    }
}
