//! `GET /v1/service`

use axum::Json;
use axum::extract::State;
use control_api::AttoSmt;
use receipts::NetworkId;
use redeem_api::{SCHEMA, ServiceAnswer, TariffAnswer};

use super::Shared;
use crate::tariff::Tariff;

/// What has to be known of this service: where its cheques are cashed, and its terms.
#[utoipa::path(get, path = "/v1/service", responses((status = 200, body = ServiceAnswer)))]
pub(super) async fn get(State(shared): State<Shared>) -> Json<ServiceAnswer> {
    let service = shared.service();
    let named = service.terms.tariffs.iter();
    let tariffs = named.map(|(network, tariff)| answer(Some(network), tariff));
    let others = service.terms.others.iter();
    Json(ServiceAnswer {
        schema: SCHEMA,
        chain_id: service.chain_id,
        book: service.chain.book,
        settlement_key: service.chain.us,
        claim_bytes: shared.0.limits.claim_bytes as u64,
        tariffs: tariffs
            .chain(others.map(|tariff| answer(None, tariff)))
            .collect(),
    })
}

fn answer(network: Option<&NetworkId>, tariff: &Tariff) -> TariffAnswer {
    TariffAnswer {
        network: network.map(ToString::to_string),
        maximum_price_atto_per_mib: tariff.maximum_price.atto_smt_per_mib().into(),
        minimum_atto: AttoSmt::new(tariff.minimum_amount.atto_smt()),
        fee_ppm: tariff.fee.parts(),
        bonus_atto_per_second: AttoSmt::from(tariff.bonus_per_second),
        bonus_share_ppm: tariff.bonus_share.parts(),
    }
}
