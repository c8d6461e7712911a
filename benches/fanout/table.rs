//! What is printed.

use std::fmt::Write as _;

use crate::contenders::{Contender, Role};
use crate::figures::Figures;
use crate::rows::{Row, Unit};

type Measure = fn(&Figures) -> f64;

/// A comparison: what each contender took, and the ratios of fleet to the others.
pub fn table(row: &Row, figures: &[Vec<Figures>]) -> String {
    let unit = row.unit.name();
    let mut text = format!("{}\n", row.title);
    let _ = write!(text, "{:24}{:>16}{:>9}{:>9}", "", format!("CPU {unit}"), "wall s", "MiB");
    let _ = match row.unit {
        Unit::Whole => writeln!(text, "{:>13}{:>9}", "output KiB", "others"),
        Unit::Hosts(_) | Unit::Output(_) => writeln!(text, "{:>21}{:>9}", format!("host CPU {unit}"), "others"),
    };
    for (contender, figures) in row.contenders.iter().zip(figures) {
        let of = |measure: Measure| median(figures.iter().map(measure).collect());
        let _ =
            write!(text, "{:24}{:16.2}{:9.2}{:9.1}", contender.name, of(|f| f.cpu), of(|f| f.wall), of(|f| f.memory));
        let _ = match row.unit {
            Unit::Whole => write!(text, "{:13.0}", of(|f| f.output)),
            Unit::Hosts(_) | Unit::Output(_) => write!(text, "{:21.2}", of(|f| f.host)),
        };
        let _ = writeln!(text, "{:7.0} %", of(|f| f.others));
    }
    let pairs = pairs(&row.contenders);
    if !pairs.is_empty() {
        let _ = writeln!(text, "{:36}{:>20}{:>20}{:>20}{:>20}", "ratio", "CPU", "wall", "host CPU", "MiB");
    }
    for (one, other) in pairs {
        let _ = write!(text, "{:36}", format!("{} / {}", row.contenders[one].name, row.contenders[other].name));
        let measures: [Measure; 4] = [|f| f.cpu, |f| f.wall, |f| f.host, |f| f.memory];
        for measure in measures {
            let _ = write!(text, "{:>20}", ratio(&figures[one], &figures[other], measure));
        }
        text.push('\n');
    }
    for reason in &row.left_out {
        let _ = writeln!(text, "left out: {reason}");
    }
    text.trim_end().to_owned()
}

/// Every later version of fleet with the one before that does the same, and each with all others.
fn pairs(contenders: &[Contender]) -> Vec<(usize, usize)> {
    let fleets: Vec<(usize, usize)> = contenders
        .iter()
        .enumerate()
        .filter_map(|(at, contender)| match contender.role {
            Role::Fleet(place) => Some((at, place)),
            Role::Other => None,
        })
        .collect();
    // How many a version has: two where there is output.
    let ways = fleets.iter().filter(|(_, place)| *place == 0).count();
    let versions = fleets.iter().filter(|(_, place)| *place > 0).map(|(at, _)| (*at, at - ways));
    let others =
        |at: usize| (0..contenders.len()).filter(move |o| contenders[*o].role == Role::Other).map(move |o| (at, o));
    versions.chain(fleets.iter().flat_map(|(at, _)| others(*at))).collect()
}

/// Round by round: what slows one side of a round slows the other one, too.
fn ratio(one: &[Figures], other: &[Figures], measure: Measure) -> String {
    let ratios: Vec<f64> = one.iter().zip(other).map(|(one, other)| measure(one) / measure(other)).collect();
    if !ratios.iter().all(|ratio| ratio.is_finite()) {
        return "-".to_owned();
    }
    let lowest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = ratios.iter().copied().fold(0.0, f64::max);
    format!("{:.2} ({lowest:.2}-{highest:.2})", median(ratios))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}
