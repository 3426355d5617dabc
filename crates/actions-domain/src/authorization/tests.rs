use super::{AuthorizationContext, Forbidden, GRANTS, Permission, Principal, Role};
use crate::id::TenantId;

const ALL: [Role; 9] = [
    Role::PlatformAdmin,
    Role::TenantAdmin,
    Role::Operator,
    Role::Developer,
    Role::Viewer,
    Role::IngestOnly,
    Role::Worker,
    Role::Engine,
    Role::Internal,
];

fn caller(role: Role) -> AuthorizationContext {
    AuthorizationContext::new(Principal::ApiKey, "someone", TenantId(7), role, "r")
}

#[test]
fn another_tenant_is_refused_before_the_role_is_looked_at() {
    let refusal = caller(Role::TenantAdmin).require(Permission::ManageTenants, TenantId(8));
    assert_eq!(refusal, Err(Forbidden::OtherTenant));
    let refusal = caller(Role::TenantAdmin).require_rank(Role::Viewer, TenantId(8));
    assert_eq!(refusal, Err(Forbidden::OtherTenant));
}

#[test]
fn the_engine_may_not_read() {
    let refusal = caller(Role::Engine).require(Permission::ReadEvents, TenantId(7));
    assert!(matches!(refusal, Err(Forbidden::Role { .. })));
}

#[test]
fn each_permission_has_one_row_and_each_role_its_column() {
    for (at, (permission, _)) in GRANTS.iter().enumerate() {
        assert_eq!(*permission as usize, at, "{permission:?}");
    }
    for (at, role) in ALL.into_iter().enumerate() {
        assert_eq!(role as usize, at, "{role:?}");
    }
}

#[test]
fn a_role_is_read_by_the_word_it_is_written_with() {
    for role in Role::OF_API_KEYS {
        assert_eq!(Role::parse(role.word()), Ok(role));
    }
    for no_role in ["engine", "internal", "Viewer", "", "admin"] {
        assert!(Role::parse(no_role).is_err(), "{no_role}");
    }
}

#[test]
fn nobody_hands_out_more_than_they_have() {
    for role in ALL {
        assert!(role.covers(role), "{role}");
        assert!(Role::PlatformAdmin.covers(role), "{role}");
        let may = caller(role).require_rank(Role::PlatformAdmin, TenantId(7)).is_ok();
        assert_eq!(may, matches!(role, Role::PlatformAdmin | Role::Internal), "{role}");
        for other in ALL.into_iter().filter(|other| role.covers(*other)) {
            for permission in Permission::ALL {
                assert!(role.allows(permission) || !other.allows(permission), "{role} {other}");
            }
        }
    }
    assert!(Role::TenantAdmin.covers(Role::Operator));
    // It would span all tenants.
    assert!(!Role::TenantAdmin.covers(Role::Engine));
}

#[test]
fn only_administrators_manage_api_keys() {
    for role in Role::OF_API_KEYS {
        let may = role.allows(Permission::ManageApiKeys);
        assert_eq!(may, matches!(role, Role::PlatformAdmin | Role::TenantAdmin), "{role}");
    }
}
