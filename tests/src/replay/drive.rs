//! Drives the platform through a journey: moves its clock, publishes, issues, quotes, locks.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use coupon_client::dev::{AdvanceClockRequest, GetClockRequest};
use coupon_client::v1::{Cart, CartLine, QuoteRequest, QuoteResponse};
use coupon_client::{ClientError, CouponClient};
use indicatif::ProgressBar;
use prost_types::Timestamp;
use tokio::task::JoinSet;

use super::check::Split;
use super::data::{Basket, Journey};
use super::ending;
use super::report::Summary;
use super::tally::Tally;
use super::timeline::{Event, Moment, timeline};

/// Every amount of the files is in cents of this currency.
pub(crate) const CURRENCY: &str = "USD";
/// How long before the first event the clock starts.
const LEAD_SECONDS: i64 = 3_600;

/// A replay under way.
pub(crate) struct Drive<'j> {
    pub(crate) client: CouponClient,
    pub(crate) journey: &'j Journey,
    /// Calls that may be under way at once, at least 1.
    pub(crate) in_flight: usize,
    /// By index of [`Journey::coupons`]; 0 = not published.
    pub(crate) template_ids: Vec<i64>,
    /// The coupon ids that a user was given, by user and index of [`Journey::coupons`]. Redeemed
    /// ones are taken out.
    pub(crate) wallets: HashMap<(i64, usize), Vec<i64>>,
    pub(crate) tally: Tally,
    clock_at: i64,
    quotes: JoinSet<Quoted>,
}

/// A quote of a whole wallet that has been answered.
struct Quoted {
    basket: usize,
    cart: Cart,
    took: Duration,
    answer: Result<QuoteResponse, ClientError>,
}

/// Replays the journey against a server whose test clock stands before its first event, and checks
/// how it ended. At most `in_flight` calls are under way at once; with 1 everything happens in
/// turn. Broken invariants are in the summary; an error means that the replay could not go on.
pub async fn replay(
    client: CouponClient,
    journey: &Journey,
    in_flight: usize,
    progress: &ProgressBar,
) -> Result<Summary> {
    let moments = timeline(journey);
    progress.set_length(moments.len() as u64);
    let mut drive = Drive::new(client, journey, in_flight.max(1))?;
    drive.meet_clock(&moments).await?;
    for moment in moments {
        let when = instant(moment.at).to_string();
        progress.set_message(when.clone());
        drive.step(moment).await.with_context(|| format!("at {when}"))?;
        progress.inc(1);
    }
    progress.set_message("walking every wallet");
    let Drive { client, in_flight, template_ids, mut tally, .. } = drive;
    let (stored, listed) =
        ending::audit(&client, journey, &template_ids, in_flight, &mut tally).await?;
    Ok(Summary::new(journey, tally, stored, listed))
}

impl<'j> Drive<'j> {
    fn new(client: CouponClient, journey: &'j Journey, in_flight: usize) -> Result<Self> {
        Ok(Self {
            client,
            journey,
            in_flight,
            template_ids: vec![0; journey.coupons.len()],
            wallets: HashMap::new(),
            tally: Tally::new(journey)?,
            clock_at: i64::MIN,
            quotes: JoinSet::new(),
        })
    }

    /// Learns the server's time and refuses one that is past the first event.
    async fn meet_clock(&mut self, moments: &[Moment]) -> Result<()> {
        let answer = self.client.get_clock(GetClockRequest {}).await;
        let now = answer.context("the server has no test clock to replay on")?.now;
        let now = now.context("the server answered no time")?;
        self.clock_at = now.seconds;
        match moments.first() {
            Some(first) if now.seconds > first.at => bail!(
                "the server's clock stands at {now}, after the first event at {}; start a fresh \
                 server with an earlier --test-clock",
                instant(first.at)
            ),
            _ => Ok(()),
        }
    }

    async fn step(&mut self, moment: Moment) -> Result<()> {
        match moment.event {
            // What a wallet holds changes here, so no quote may be under way.
            Event::CampaignStarts(campaign) => {
                self.finish_quotes(0).await?;
                self.advance(moment.at).await?;
                self.start_campaign(campaign).await
            }
            Event::CampaignEnds(_) | Event::Over => {
                self.finish_quotes(0).await?;
                self.advance(moment.at).await
            }
            // Between two changes a quote answers the same whenever it is asked, so the clock need
            // not wait for the ones under way.
            Event::Basket(index) if self.journey.baskets[index].redemptions.is_empty() => {
                self.finish_quotes(self.in_flight - 1).await?;
                self.advance(moment.at).await?;
                self.start_quote(index);
                Ok(())
            }
            // A lock ends by the clock and changes a wallet: it goes alone.
            Event::Basket(index) => {
                self.finish_quotes(0).await?;
                self.advance(moment.at).await?;
                let basket = &self.journey.baskets[index];
                let name =
                    || format!("basket {} of user {}", basket.basket_id, basket.household_id);
                self.checkout(basket).await.with_context(name)
            }
        }
    }

    /// Moves the server's clock forward; its alarms up to then have rung when this returns.
    async fn advance(&mut self, to: i64) -> Result<()> {
        if to == self.clock_at {
            return Ok(());
        }
        let request = AdvanceClockRequest { to: Some(instant(to)) };
        let answer =
            self.client.advance_clock(request).await.context("cannot advance the clock")?;
        let now = answer.now.map(|now| now.seconds);
        ensure!(now == Some(to), "the clock was to stand at {to} s but stands at {now:?}");
        self.tally.alarms_handled += answer.alarms_handled;
        self.clock_at = to;
        Ok(())
    }

    /// Asks what the user's wallet is worth for the basket, without waiting for the answer.
    fn start_quote(&mut self, basket: usize) {
        let plan = &self.journey.baskets[basket];
        let cart = self.cart(plan);
        let request = QuoteRequest {
            user_id: plan.household_id,
            cart: Some(cart.clone()),
            coupon_ids: Vec::new(),
        };
        let client = self.client.clone();
        self.quotes.spawn(async move {
            let started = Instant::now();
            let answer = client.quote(request).await;
            Quoted { basket, cart, took: started.elapsed(), answer }
        });
    }

    /// Waits until at most `left` quotes are under way.
    async fn finish_quotes(&mut self, left: usize) -> Result<()> {
        while self.quotes.len() > left {
            let Some(done) = self.quotes.join_next().await else {
                break;
            };
            let quoted = done.context("a quote was broken off")?;
            let basket_id = self.journey.baskets[quoted.basket].basket_id;
            let answer =
                quoted.answer.with_context(|| format!("cannot quote basket {basket_id}"))?;
            self.tally.quote.record(quoted.took);
            self.tally.quoted += 1;
            let Some(best) = answer.best else { continue };
            self.tally.quoted_with_discount += u64::from(best.discount_minor > 0);
            self.tally.quoted_discount_minor += best.discount_minor;
            self.tally.quotes_not_optimal += u64::from(!best.optimal);
            if let Err(what) = Split::from(&best).check(&quoted.cart) {
                self.tally.violation(format!("quote of basket {basket_id}: {what}"));
            }
        }
        Ok(())
    }

    /// A basket as the platform's cart. Lines are numbered, for a product may stand on several.
    pub(crate) fn cart(&self, basket: &Basket) -> Cart {
        let lines = basket.lines.iter().enumerate().map(|(index, line)| {
            let product = self.journey.products.get(&line.product_id);
            CartLine {
                line_id: (index + 1).to_string(),
                product_id: line.product_id,
                merchant_id: product.map_or(0, |product| product.manufacturer_id),
                category: product.map_or_else(String::new, |product| product.category.clone()),
                quantity: line.quantity,
                amount_minor: line.sales_cents,
            }
        });
        Cart { currency_code: CURRENCY.to_owned(), lines: lines.collect(), ..Cart::default() }
    }
}

/// Where the test clock of a server for this journey should start, in RFC 3339: an hour before the
/// first event.
pub fn clock_start(journey: &Journey) -> String {
    let first = timeline(journey).first().map_or(0, |first| first.at);
    instant(first - LEAD_SECONDS).to_string()
}

/// A Unix second as the API writes it.
pub(crate) fn instant(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::data::Campaign;

    #[test]
    fn the_clock_starts_before_the_first_event() {
        let campaign = Campaign {
            campaign_id: 1,
            start: 1_483_315_200,
            end: 1_483_401_600,
            recipients: Vec::new(),
            coupons: Vec::new(),
        };
        let journey = Journey { campaigns: vec![campaign], ..Journey::default() };
        assert_eq!(clock_start(&journey), "2017-01-01T23:00:00Z");
    }
}
