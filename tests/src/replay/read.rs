//! Reading a folder of coupon campaigns.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::Result;

use super::data::{
    Basket, BasketLine, Campaign, CampaignCoupon, DAY_SECONDS, Journey, Product, Redemption,
};
use super::table::Table;

/// Most pieces that one Issue gives a user, hence the highest `per_household`.
const PIECES_MAX: i64 = 100;

/// Campaigns and coupons by the names that other files have for them.
#[derive(Default)]
struct Names {
    campaigns: HashMap<i64, usize>,
    coupons: HashMap<(i64, String), usize>,
}

impl Journey {
    /// Reads a folder. Every error names the file, and the line and column where there is one.
    pub fn read(dir: &Path) -> Result<Self> {
        let mut journey = Self::default();
        let mut names = Names::default();
        journey.read_campaigns(dir, &mut names)?;
        journey.read_recipients(dir, &names)?;
        journey.read_coupons(dir, &mut names)?;
        journey.read_scopes(dir, &names)?;
        journey.read_products(dir)?;
        let baskets = journey.read_baskets(dir)?;
        journey.read_redemptions(dir, &names, &baskets)?;
        Ok(journey)
    }

    fn read_campaigns(&mut self, dir: &Path, names: &mut Names) -> Result<()> {
        let mut table = Table::open(dir, "campaigns", &["campaign_id", "start_date", "end_date"])?;
        while let Some(row) = table.next_row()? {
            let campaign_id = row.at_least("campaign_id", 1)?;
            let (start, last_day) = (row.date("start_date")?, row.date("end_date")?);
            if last_day < start {
                return Err(row.error("end_date", "is before start_date"));
            }
            if names.campaigns.insert(campaign_id, self.campaigns.len()).is_some() {
                return Err(row.error("campaign_id", &format!("{campaign_id} is there twice")));
            }
            self.campaigns.push(Campaign {
                campaign_id,
                start,
                end: last_day + DAY_SECONDS,
                recipients: Vec::new(),
                coupons: Vec::new(),
            });
        }
        if self.campaigns.is_empty() {
            return Err(table.error("no rows: a replay needs a campaign"));
        }
        Ok(())
    }

    fn read_recipients(&mut self, dir: &Path, names: &Names) -> Result<()> {
        let mut table = Table::open(dir, "recipients", &["campaign_id", "household_id"])?;
        let mut seen = HashSet::new();
        while let Some(row) = table.next_row()? {
            let campaign_id = row.number("campaign_id")?;
            let household_id = row.at_least("household_id", 1)?;
            let campaign = names
                .campaigns
                .get(&campaign_id)
                .and_then(|&campaign| self.campaigns.get_mut(campaign))
                .ok_or_else(|| row.error("campaign_id", &unknown_campaign(campaign_id)))?;
            if seen.insert((campaign_id, household_id)) {
                campaign.recipients.push(household_id);
            } else {
                self.notes.repeated_recipient_rows += 1;
            }
        }
        Ok(())
    }

    fn read_coupons(&mut self, dir: &Path, names: &mut Names) -> Result<()> {
        let columns = ["campaign_id", "coupon_upc", "amount_cents", "per_household"];
        let mut table = Table::open(dir, "coupons", &columns)?;
        while let Some(row) = table.next_row()? {
            let campaign_id = row.number("campaign_id")?;
            let campaign = *names
                .campaigns
                .get(&campaign_id)
                .ok_or_else(|| row.error("campaign_id", &unknown_campaign(campaign_id)))?;
            let per_household = row.at_least("per_household", 1)?;
            let per_household = i32::try_from(per_household)
                .ok()
                .filter(|_| per_household <= PIECES_MAX)
                .ok_or_else(|| {
                    row.error(
                        "per_household",
                        &format!("{per_household} is more than {PIECES_MAX}"),
                    )
                })?;
            let upc = row.text("coupon_upc")?.to_owned();
            let coupon = self.coupons.len();
            if names.coupons.insert((campaign_id, upc.clone()), coupon).is_some() {
                return Err(row.error("coupon_upc", &format!("{upc} is there twice")));
            }
            self.coupons.push(CampaignCoupon {
                campaign,
                upc,
                amount_cents: row.at_least("amount_cents", 1)?,
                per_household,
                product_ids: Vec::new(),
            });
            self.campaigns[campaign].coupons.push(coupon);
        }
        Ok(())
    }

    fn read_scopes(&mut self, dir: &Path, names: &Names) -> Result<()> {
        let columns = ["campaign_id", "coupon_upc", "product_id"];
        let mut table = Table::open(dir, "coupon_products", &columns)?;
        let mut seen = HashSet::new();
        while let Some(row) = table.next_row()? {
            let campaign_id = row.number("campaign_id")?;
            let upc = row.text("coupon_upc")?;
            let product_id = row.at_least("product_id", 1)?;
            let coupon = *names.coupons.get(&(campaign_id, upc.to_owned())).ok_or_else(|| {
                let message = format!("campaign {campaign_id} has no {upc} in coupons.csv");
                row.error("coupon_upc", &message)
            })?;
            if seen.insert((coupon, product_id)) {
                self.coupons[coupon].product_ids.push(product_id);
            } else {
                self.notes.repeated_scope_rows += 1;
            }
        }
        match self.coupons.iter().find(|coupon| coupon.product_ids.is_empty()) {
            Some(bare) => {
                let campaign_id = self.campaigns[bare.campaign].campaign_id;
                let upc = &bare.upc;
                Err(table.error(&format!("no row for coupon {upc} of campaign {campaign_id}")))
            }
            None => Ok(()),
        }
    }

    fn read_products(&mut self, dir: &Path) -> Result<()> {
        let columns = ["product_id", "manufacturer_id", "product_category"];
        let mut table = Table::open(dir, "products", &columns)?;
        while let Some(row) = table.next_row()? {
            let product = Product {
                manufacturer_id: row.at_least("manufacturer_id", 0)?,
                category: row.text("product_category")?.to_owned(),
            };
            self.products.insert(row.at_least("product_id", 1)?, product);
        }
        Ok(())
    }

    /// Reads the baskets, whose lines need not be adjacent; answers the index of each basket id.
    fn read_baskets(&mut self, dir: &Path) -> Result<HashMap<i64, usize>> {
        let columns = [
            "basket_id",
            "household_id",
            "transaction_timestamp",
            "product_id",
            "quantity",
            "sales_cents",
        ];
        let mut table = Table::open(dir, "baskets", &columns)?;
        let mut index: HashMap<i64, usize> = HashMap::new();
        while let Some(row) = table.next_row()? {
            let basket_id = row.at_least("basket_id", 1)?;
            let household_id = row.at_least("household_id", 1)?;
            let at = row.timestamp("transaction_timestamp")?;
            let product_id = row.at_least("product_id", 1)?;
            let (quantity, sales_cents) = (row.number("quantity")?, row.number("sales_cents")?);
            // Returns and weighed goods: the platform takes whole pieces and no negative total.
            self.notes.adjusted_lines += u64::from(quantity < 1 || sales_cents < 0);
            let line = BasketLine {
                product_id,
                quantity: quantity.max(1),
                sales_cents: sales_cents.max(0),
            };
            let position = *index.entry(basket_id).or_insert(self.baskets.len());
            match self.baskets.get_mut(position) {
                None => self.baskets.push(Basket {
                    basket_id,
                    household_id,
                    at,
                    lines: vec![line],
                    redemptions: Vec::new(),
                }),
                Some(basket) if basket.household_id != household_id => {
                    return Err(row.error("household_id", "differs from the basket's first line"));
                }
                Some(basket) if basket.at != at => {
                    let message = "differs from the basket's first line";
                    return Err(row.error("transaction_timestamp", message));
                }
                Some(basket) => basket.lines.push(line),
            }
        }
        Ok(index)
    }

    fn read_redemptions(
        &mut self,
        dir: &Path,
        names: &Names,
        baskets: &HashMap<i64, usize>,
    ) -> Result<()> {
        let columns =
            ["redemption_id", "household_id", "campaign_id", "coupon_upc", "basket_id", "in_scope"];
        let mut table = Table::open(dir, "redemptions", &columns)?;
        while let Some(row) = table.next_row()? {
            let household_id = row.at_least("household_id", 1)?;
            let name = (row.number("campaign_id")?, row.text("coupon_upc")?.to_owned());
            let basket_id = row.at_least("basket_id", 1)?;
            let basket = baskets
                .get(&basket_id)
                .and_then(|&basket| self.baskets.get_mut(basket))
                .filter(|basket| basket.household_id == household_id);
            let redemption = Redemption {
                redemption_id: row.number("redemption_id")?,
                coupon: names.coupons.get(&name).copied(),
                basket_id,
                attached: basket.is_some(),
                in_scope: row.flag("in_scope")?,
            };
            match basket {
                Some(basket) => basket.redemptions.push(self.redemptions.len()),
                None => self.notes.orphan_redemptions += 1,
            }
            self.redemptions.push(redemption);
        }
        Ok(())
    }
}

fn unknown_campaign(campaign_id: i64) -> String {
    format!("{campaign_id} is not in campaigns.csv")
}

#[cfg(test)]
mod tests;
