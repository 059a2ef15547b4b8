//! `position`: where the node stands.

use mesh_proto::Position;

use super::error::quoted;
use super::fields::Value;

impl Value for Position {
    const ALLOWED: &'static str =
        "LATITUDE, LONGITUDE in degrees, north and east positive, such as -1.286389, 36.817223";

    fn from_text(text: &str) -> Result<Self, String> {
        let Some((latitude, longitude)) = text.split_once(',') else {
            return Err(format!("{} is not two numbers", quoted(text)));
        };
        let number = |which: &str, text: &str| {
            let text = text.trim();
            micro_degrees(text).ok_or_else(|| format!("{which} is {}", quoted(text)))
        };
        let (latitude, longitude) = (
            number("latitude", latitude)?,
            number("longitude", longitude)?,
        );
        Self::new(latitude, longitude)
            .ok_or_else(|| "is not on earth: beyond 90 or 180 degrees".to_owned())
    }
}

/// Degrees in millionths; what comes after the sixth digit, less than 11 cm, is cut off.
fn micro_degrees(text: &str) -> Option<i32> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    if !are_digits(whole) || !are_digits(fraction) || whole.len() > 3 {
        return None;
    }
    let micro: String = fraction.chars().chain("000000".chars()).take(6).collect();
    let value = whole.parse::<i32>().ok()? * 1_000_000 + micro.parse::<i32>().ok()?;
    Some(if is_negative { -value } else { value })
}

/// As it is written in the configuration.
pub(super) fn written(position: Position) -> String {
    let degrees = |udeg: i32| {
        let sign = if udeg < 0 { "-" } else { "" };
        let udeg = udeg.unsigned_abs();
        format!("{sign}{}.{:06}", udeg / 1_000_000, udeg % 1_000_000)
    };
    format!(
        "{}, {}",
        degrees(position.latitude_udeg()),
        degrees(position.longitude_udeg())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degrees_are_read_to_the_millionth() {
        for (text, latitude, longitude) in [
            ("-1.286389, 36.817223", -1_286_389, 36_817_223),
            ("52.5200081234,13", 52_520_008, 13_000_000),
            ("-0.5, -180", -500_000, -180_000_000),
            ("90.000000 , 0", 90_000_000, 0),
        ] {
            let position = Position::from_text(text).unwrap();
            assert_eq!(
                (position.latitude_udeg(), position.longitude_udeg()),
                (latitude, longitude)
            );
            assert_eq!(Position::from_text(&written(position)), Ok(position));
        }
    }

    #[test]
    fn what_is_no_place_on_earth_is_refused() {
        for text in [
            "",
            "52.5",
            "52.5 13.4",
            "90.000001, 0",
            "0, -180.5",
            "1e1, 3",
            "nan, 0",
            "+1, 2",
            "1., 2",
            ".5, 2",
            "1,2,3",
            "9999, 0",
            "1.5\u{663}, 0",
        ] {
            assert!(Position::from_text(text).is_err(), "{text}");
        }
    }
}
