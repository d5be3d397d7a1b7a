//! Labels of the security modules, AppArmor and SELinux, as the config says them. Looks nothing up.

use runtime::ErrorKind;
use runtime::spec::Spec;

use crate::error::{Error, Result};
use crate::options::{AppArmorChoice, LabelOptions, SecurityOptions};
use crate::security_modules::{Categories, Modules, PROFILE};

/// Labels the container's processes, and the files that are made for it.
pub(crate) fn label(
    options: &SecurityOptions,
    modules: Modules,
    categories: Option<Categories>,
    spec: &mut Spec,
) -> Result<()> {
    let Spec { process: Some(process), linux: Some(linux), .. } = spec else { return Ok(()) };
    process.apparmor_profile = match &options.apparmor {
        Some(AppArmorChoice::Unconfined) => None,
        Some(AppArmorChoice::Profile(_)) if !modules.apparmor => {
            let field = "--security-opt apparmor";
            let error = Error::new(ErrorKind::Unsupported, field, "AppArmor is not on here");
            return Err(error.with_hint("leave it out, or say `apparmor=unconfined`"));
        }
        Some(AppArmorChoice::Profile(name)) => Some(name.clone()),
        None if modules.own_profile && !options.privileged => Some(PROFILE.to_owned()),
        None => None,
    };
    if modules.selinux && wants_label(options) {
        let label = &options.label;
        let part = |given: &Option<String>, usual: &str| given.clone().unwrap_or_else(|| usual.to_owned());
        let level = match (&label.level, categories) {
            (Some(level), _) => level.clone(),
            (None, Some(Categories(first, second))) => format!("s0:c{first},c{second}"),
            (None, None) => "s0".to_owned(),
        };
        let user = part(&label.user, "system_u");
        let role = part(&label.role, "system_r");
        process.selinux_label = Some(format!("{user}:{role}:{}:{level}", part(&label.kind, "container_t")));
        let files = part(&label.file_kind, "container_file_t");
        linux.mount_label = Some(format!("{user}:object_r:{files}:{level}"));
    }
    Ok(())
}

/// Whether an SELinux label is asked for: always, but for the privileged, unless parts of it were given.
pub(crate) fn wants_label(options: &SecurityOptions) -> bool {
    let LabelOptions { disable, nested: _, user, role, kind, file_kind, level } = &options.label;
    let given = [user, role, kind, file_kind, level].into_iter().any(Option::is_some);
    !disable && (given || !options.privileged)
}

#[cfg(test)]
mod tests {
    use runtime::spec::{Linux, Process};

    use super::*;

    const APPARMOR: Modules = Modules { apparmor: true, own_profile: true, selinux: false };
    const SELINUX: Modules = Modules { apparmor: false, own_profile: false, selinux: true };

    fn labelled(modules: Modules, flags: &[&str], privileged: bool) -> Result<Spec> {
        let mut options = SecurityOptions { privileged, ..SecurityOptions::default() };
        flags.iter().for_each(|flag| options.apply(flag).expect("legal"));
        let mut spec =
            Spec { process: Some(Process::default()), linux: Some(Linux::default()), ..Spec::default() };
        label(&options, modules, Some(Categories(7, 300)), &mut spec)?;
        Ok(spec)
    }

    fn profile(modules: Modules, flags: &[&str], privileged: bool) -> Option<String> {
        labelled(modules, flags, privileged).expect("legal").process.expect("there").apparmor_profile
    }

    fn selinux(flags: &[&str], privileged: bool) -> (Option<String>, Option<String>) {
        let spec = labelled(SELINUX, flags, privileged).expect("legal");
        (spec.process.expect("there").selinux_label, spec.linux.expect("there").mount_label)
    }

    #[test]
    fn own_apparmor_profile_is_used_where_it_is_loaded_unless_another_is_named() {
        assert_eq!(profile(APPARMOR, &[], false).as_deref(), Some("rabbitc-default-2"));
        assert_eq!(profile(APPARMOR, &["apparmor=mine"], false).as_deref(), Some("mine"));
        assert_eq!(profile(APPARMOR, &["apparmor=mine"], true).as_deref(), Some("mine"));
        assert_eq!(profile(APPARMOR, &["apparmor=unconfined"], false), None);
        assert_eq!(profile(APPARMOR, &[], true), None);
        assert_eq!(profile(Modules { own_profile: false, ..APPARMOR }, &[], false), None);
        assert_eq!(profile(Modules::default(), &["apparmor=unconfined"], false), None);
        let error = labelled(Modules::default(), &["apparmor=mine"], false).expect_err("refused");
        assert!(error.to_string().contains("AppArmor is not on"), "{error}");
    }

    #[test]
    fn selinux_labels_have_the_containers_categories_and_the_parts_that_were_given() {
        let (process, files) = selinux(&[], false);
        assert_eq!(process.as_deref(), Some("system_u:system_r:container_t:s0:c7,c300"));
        assert_eq!(files.as_deref(), Some("system_u:object_r:container_file_t:s0:c7,c300"));
        let (process, files) =
            selinux(&["label=type:x_t", "label=level:s0:c1,c2", "label=filetype:y_t"], false);
        assert_eq!(process.as_deref(), Some("system_u:system_r:x_t:s0:c1,c2"));
        assert_eq!(files.as_deref(), Some("system_u:object_r:y_t:s0:c1,c2"));
        assert_eq!(selinux(&["label=disable"], false), (None, None));
        assert_eq!(selinux(&[], true), (None, None));
        assert!(selinux(&["label=type:x_t"], true).0.is_some());
    }
}
