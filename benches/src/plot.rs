//! Line charts as SVG: panels below each other, each with an axis of minutes.

use std::fmt::Write;

const WIDTH: f64 = 900.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const PANEL: f64 = 220.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 30.0;
const COLOURS: [&str; 4] = ["#1f5fa8", "#d2691e", "#2e8b57", "#8b3a8b"];
const STEPS: usize = 4;

/// A line: its name and its points, with x in seconds.
pub(crate) struct Series {
    /// Name in the legend.
    pub(crate) name: &'static str,
    /// The points, in order.
    pub(crate) points: Vec<(f64, f64)>,
}

/// A chart: its title and its lines.
pub(crate) struct Panel {
    /// Title, with the unit of the y axis.
    pub(crate) title: &'static str,
    /// Lines of the chart.
    pub(crate) series: Vec<Series>,
}

/// Draws the panels.
pub(crate) fn draw(panels: &[Panel]) -> String {
    let height = (PANEL + TOP + BOTTOM) * panels.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (n, panel) in panels.iter().enumerate() {
        panel.draw(&mut svg, (PANEL + TOP + BOTTOM) * n as f64 + TOP);
    }
    svg.push_str("</svg>\n");
    svg
}

impl Panel {
    // Results are ignored, because writing to a String cannot fail.
    fn draw(&self, svg: &mut String, top: f64) {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let span = points().map(|p| p.0).fold(1.0, f64::max);
        let max = round_up(points().map(|p| p.1).fold(1.0, f64::max));
        let x = |seconds: f64| LEFT + (WIDTH - LEFT - RIGHT) * seconds / span;
        let y = |value: f64| top + PANEL * (1.0 - value / max);
        let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{}</text>", top - 20.0, self.title);
        for step in 0..=STEPS {
            let (value, seconds) = (max * step as f64 / STEPS as f64, span * step as f64 / STEPS as f64);
            let (at, end) = (y(value), WIDTH - RIGHT);
            let _ = writeln!(svg, "<path d=\"M{LEFT} {at:.1}H{end}\" stroke=\"#ddd\"/>");
            let _ =
                writeln!(svg, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>", LEFT - 6.0, at + 4.0);
            let (at, under) = (x(seconds), top + PANEL + 18.0);
            let minutes = seconds / 60.0;
            let _ = writeln!(svg, "<text x=\"{at:.1}\" y=\"{under}\" text-anchor=\"middle\">{minutes:.1} min</text>");
        }
        for (n, series) in self.series.iter().enumerate() {
            let colour = COLOURS[n % COLOURS.len()];
            let line: Vec<String> = series.points.iter().map(|p| format!("{:.1},{:.1}", x(p.0), y(p.1))).collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
                line.join(" ")
            );
            let (at, over) = (LEFT + 220.0 + 170.0 * n as f64, top - 20.0);
            let _ = writeln!(svg, "<text x=\"{at}\" y=\"{over}\" fill=\"{colour}\">{}</text>", series.name);
        }
    }
}

/// Rounds up to 1, 2, 4 or 8 times a power of ten, so that quarters are short numbers.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 4.0, 8.0, 10.0].into_iter().map(|factor| factor * power).find(|&v| v >= value).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_on_round_numbers() {
        assert_eq!([3.0, 10.0, 81.0, 0.7].map(round_up), [4.0, 10.0, 100.0, 0.8]);
    }

    #[test]
    fn a_panel_has_its_lines() {
        let series = Series { name: "rss", points: vec![(0.0, 0.0), (60.0, 10.0)] };
        let svg = draw(&[Panel { title: "MB", series: vec![series] }]);
        assert!(svg.contains("70.0,260.0 880.0,40.0") && svg.ends_with("</svg>\n"), "{svg}");
    }
}
