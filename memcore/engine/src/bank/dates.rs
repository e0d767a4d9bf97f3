//! Dates that a query names in English, and how well a memory's event time fits them.

use crate::text::Analyzer;

/// A date as far as it is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Named {
    year: Option<u32>,
    month: Option<u32>,
    day: Option<u32>,
}

/// The dates of one query.
#[derive(Debug, Default)]
pub(super) struct Dates(Vec<Named>);

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Words after which `may` and `march` are months.
const BEFORE_MONTHS: [&str; 14] = [
    "in", "on", "of", "since", "by", "until", "during", "before", "after", "last", "this", "early", "late",
    "mid",
];

/// Days after a named one that still count for more than any other.
const SOON: u32 = 7;

impl Dates {
    /// Months with the days and years beside them; without a month, bare years.
    pub fn of(text: &str) -> Self {
        let words: Vec<String> = Analyzer::words(text).map(|word| word.to_ascii_lowercase()).collect();
        let months: Vec<Named> = (0..words.len()).filter_map(|at| month_at(&words, at)).collect();
        if !months.is_empty() {
            return Self(months);
        }
        let bare = |year| Named { year: Some(year), month: None, day: None };
        Self(words.iter().filter_map(|word| year(word)).map(bare).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// 0 unless year and month agree with one of the dates; then 1, and by its day between 0.5 and 1.5.
    pub fn fit(&self, event_time: &str) -> f64 {
        let mut parts = event_time.get(..10).unwrap_or_default().splitn(3, '-').map(|part| part.parse().ok());
        match (parts.next().flatten(), parts.next().flatten(), parts.next().flatten()) {
            (Some(year), Some(month), Some(day)) => {
                self.0.iter().map(|named| named.fit(year, month, day)).fold(0.0, f64::max)
            }
            _ => 0.0,
        }
    }
}

impl Named {
    fn fit(self, year: u32, month: u32, day: u32) -> f64 {
        let agrees =
            self.year.is_none_or(|named| named == year) && self.month.is_none_or(|named| named == month);
        match (agrees, self.day) {
            (false, _) => 0.0,
            (true, None) => 1.0,
            (true, Some(named)) if named == day => 1.5,
            (true, Some(named)) if (named..=named + SOON).contains(&day) => 0.75,
            (true, Some(_)) => 0.5,
        }
    }
}

/// `[D [of]] Month [D] [YYYY]` around the word at `at`.
fn month_at(words: &[String], at: usize) -> Option<Named> {
    let month = MONTHS.iter().position(|name| *name == words[at])? as u32 + 1;
    let before = |steps: usize| at.checked_sub(steps).map(|place| words[place].as_str());
    let first = match before(1) {
        Some("of") => before(2).and_then(day),
        Some(word) => day(word),
        None => None,
    };
    let after = |steps: usize| words.get(at + steps).map(String::as_str);
    let last = if first.is_none() { after(1).and_then(day) } else { None };
    let year = after(1 + usize::from(last.is_some())).and_then(year);
    let doubtful = matches!(words[at].as_str(), "may" | "march");
    let sure =
        first.or(last).or(year).is_some() || before(1).is_some_and(|word| BEFORE_MONTHS.contains(&word));
    (sure || !doubtful).then_some(Named { year, month: Some(month), day: first.or(last) })
}

fn day(word: &str) -> Option<u32> {
    let digits = ["st", "nd", "rd", "th"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
    let number: u32 = if digits.len() <= 2 { digits.parse().ok()? } else { return None };
    (1..=31).contains(&number).then_some(number)
}

fn year(word: &str) -> Option<u32> {
    let number: u32 = if word.len() == 4 { word.parse().ok()? } else { return None };
    (1900..2100).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::{Dates, Named};

    fn named(text: &str) -> Vec<(Option<u32>, Option<u32>, Option<u32>)> {
        Dates::of(text).0.iter().map(|Named { year, month, day }| (*year, *month, *day)).collect()
    }

    #[test]
    fn dates_are_read_as_people_write_them() {
        for (text, dates) in [
            ("What did she buy on 7 May, 2023?", &[(Some(2023), Some(5), Some(7))][..]),
            ("the 3rd of July", &[(None, Some(7), Some(3))]),
            ("October 13th 2022", &[(Some(2022), Some(10), Some(13))]),
            ("in May", &[(None, Some(5), None)]),
            ("It may rain, march on", &[]),
            ("between June and August 2021", &[(None, Some(6), None), (Some(2021), Some(8), None)]),
            ("who won in 1998 or 2002", &[(Some(1998), None, None), (Some(2002), None, None)]),
            ("room 1234 at 3 pm", &[]),
        ] {
            assert_eq!(named(text), dates, "{text}");
        }
    }

    #[test]
    fn a_memory_fits_by_month_and_better_by_day() {
        let dates = Dates::of("on 7 May 2023");
        for (event_time, fit) in [
            ("2023-05-07T10:00", 1.5),
            ("2023-05-14", 0.75),
            ("2023-05-15", 0.5),
            ("2023-05-06", 0.5),
            ("2023-06-07", 0.0),
            ("2022-05-07", 0.0),
            ("", 0.0),
        ] {
            assert_eq!(dates.fit(event_time), fit, "{event_time}");
        }
        assert_eq!(Dates::of("in May").fit("2020-05-31"), 1.0);
    }
}
