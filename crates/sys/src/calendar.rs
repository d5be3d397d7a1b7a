//! Dates for days since 1970, in the Gregorian calendar, for whoever writes or reads moments (RFC 3339).

/// Days from 1970 to 0000-03-01: years that begin in March have the leap day as their last.
const BEGIN: i64 = 719_468;
/// Days of 400 years.
const ERA: i64 = 146_097;

/// How many days a date is after 1970-01-01; `month` and `day` count from 1.
pub fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * ERA + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - BEGIN
}

/// Year, month and day of the date so many days after 1970-01-01.
pub fn date(days: i64) -> (i64, i64, i64) {
    let days = days + BEGIN;
    let (era, of_era) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = (from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day_of_year - (153 * from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates_and_dates_their_days() {
        for (number, expected) in [
            (0, (1970, 1, 1)),
            (-1, (1969, 12, 31)),
            (11_016, (2000, 2, 29)),
            (20_088, (2024, 12, 31)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
            (-BEGIN, (0, 3, 1)),
        ] {
            assert_eq!(date(number), expected);
        }
        for number in (-1_000_000..1_000_000).step_by(7) {
            let (year, month, day) = date(number);
            assert_eq!(days(year, month, day), number);
        }
    }
}
