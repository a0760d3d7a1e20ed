//! A journey as events in time order.

use super::data::{DAY_SECONDS, Journey};

/// Something that happens at one instant. The order of the variants is the order within it: windows
/// are half open, so a campaign's coupons are over before the next campaign's begin, and a basket
/// rung up at midnight finds both changes made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// The campaign (index of [`Journey::campaigns`]) is over; its coupons expire by themselves.
    CampaignEnds(usize),
    /// The campaign's coupons are published and issued.
    CampaignStarts(usize),
    /// A basket (index of [`Journey::baskets`]) is rung up.
    Basket(usize),
    /// A day after everything else.
    Over,
}

/// An event and its instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Unix seconds.
    pub at: i64,
    /// What happens.
    pub event: Event,
}

/// All events of a journey in time order; within an instant ends come before starts before baskets,
/// and those by their ids in the files, so the order is the same whatever the order of the rows.
pub fn timeline(journey: &Journey) -> Vec<Moment> {
    let mut keyed = Vec::with_capacity(journey.campaigns.len() * 2 + journey.baskets.len());
    for (index, campaign) in journey.campaigns.iter().enumerate() {
        let id = campaign.campaign_id;
        keyed.push((campaign.start, 1, id, Event::CampaignStarts(index)));
        keyed.push((campaign.end, 0, id, Event::CampaignEnds(index)));
    }
    for (index, basket) in journey.baskets.iter().enumerate() {
        keyed.push((basket.at, 2, basket.basket_id, Event::Basket(index)));
    }
    keyed.sort_unstable();
    let over = keyed.last().map(|last| last.0 + DAY_SECONDS);
    let mut moments: Vec<_> =
        keyed.into_iter().map(|(at, _, _, event)| Moment { at, event }).collect();
    moments.extend(over.map(|at| Moment { at, event: Event::Over }));
    moments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::data::{Basket, Campaign};

    fn campaign(campaign_id: i64, start: i64, end: i64) -> Campaign {
        Campaign { campaign_id, start, end, recipients: Vec::new(), coupons: Vec::new() }
    }

    fn basket(basket_id: i64, at: i64) -> Basket {
        Basket { basket_id, household_id: 1, at, lines: Vec::new(), redemptions: Vec::new() }
    }

    fn events(journey: &Journey) -> Vec<(i64, Event)> {
        timeline(journey).into_iter().map(|moment| (moment.at, moment.event)).collect()
    }

    #[test]
    fn ends_come_before_starts_before_baskets_within_an_instant() {
        let journey = Journey {
            campaigns: vec![campaign(2, 100, 300), campaign(1, 0, 100)],
            baskets: vec![basket(7, 100)],
            ..Journey::default()
        };
        assert_eq!(
            events(&journey),
            [
                (0, Event::CampaignStarts(1)),
                (100, Event::CampaignEnds(1)),
                (100, Event::CampaignStarts(0)),
                (100, Event::Basket(0)),
                (300, Event::CampaignEnds(0)),
                (300 + DAY_SECONDS, Event::Over),
            ]
        );
    }

    #[test]
    fn baskets_of_an_instant_go_by_id_whatever_their_order_in_the_file() {
        let journey = Journey {
            campaigns: vec![campaign(1, 0, 50)],
            baskets: vec![basket(9, 20), basket(8, 20), basket(10, 10)],
            ..Journey::default()
        };
        let order: Vec<_> = timeline(&journey)
            .into_iter()
            .filter_map(|moment| match moment.event {
                Event::Basket(index) => Some(journey.baskets[index].basket_id),
                _ => None,
            })
            .collect();
        assert_eq!(order, [10, 8, 9]);
    }

    #[test]
    fn a_basket_after_the_last_campaign_moves_the_end() {
        let journey = Journey {
            campaigns: vec![campaign(1, 0, 50)],
            baskets: vec![basket(9, 80)],
            ..Journey::default()
        };
        assert_eq!(events(&journey).last(), Some(&(80 + DAY_SECONDS, Event::Over)));
    }

    #[test]
    fn an_empty_journey_has_no_events() {
        assert_eq!(timeline(&Journey::default()), []);
    }
}
