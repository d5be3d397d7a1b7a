use super::check::check;
use super::*;

fn new(name: &str) -> NewNetwork {
    NewNetwork { name: name.to_owned(), ..NewNetwork::default() }
}

fn refused(new: NewNetwork) -> String {
    check(&new).err().expect("it is refused").to_string()
}

#[test]
fn what_contradicts_itself_is_refused_with_its_flag() {
    assert!(refused(new("-x")).contains("no name of a network"));
    assert!(refused(new("host")).contains("predefined"));
    assert!(refused(NewNetwork { driver: "overlay".into(), ..new("a") }).contains("--driver"));
    let with = |subnet: &str, gateway: &str, range: &str| NewNetwork {
        subnets: vec![subnet.into()],
        gateways: (!gateway.is_empty()).then(|| gateway.to_owned()).into_iter().collect(),
        ranges: (!range.is_empty()).then(|| range.to_owned()).into_iter().collect(),
        ..new("a")
    };
    assert!(refused(with("10.5.0.0/16", "10.6.0.1", "")).contains("no matching subnet for gateway 10.6.0.1"));
    assert!(
        refused(with("10.5.0.0/16", "", "10.0.0.0/8")).contains("no matching subnet for range 10.0.0.0/8")
    );
    assert!(refused(with("10.5.0.0", "", "")).contains("--subnet"));
    assert!(refused(with("127.0.0.0/8", "", "")).contains("loopback"));
    assert!(refused(with("10.5.0.0/31", "", "")).contains("1 to 30"));
    assert!(check(&with("10.5.0.0/16", "10.5.0.254", "10.5.1.0/24")).is_ok());
    assert!(check(&with("fd00:5::/64", "", "")).is_ok());
}

#[test]
fn options_of_a_driver_are_its_own() {
    let option = |driver: &str, name: &str, value: &str| NewNetwork {
        driver: driver.into(),
        options: [(name.to_owned(), value.to_owned())].into(),
        ..new("a")
    };
    for (driver, name, value) in [
        ("bridge", "com.docker.network.driver.mtu", "1400"),
        ("bridge", "com.docker.network.bridge.name", "br0"),
        ("bridge", "isolate", "true"),
        ("macvlan", "parent", "eth0.10"),
        ("macvlan", "mode", "private"),
        ("ipvlan", "ipvlan_mode", "l3"),
    ] {
        assert!(check(&option(driver, name, value)).is_ok(), "{driver} {name}={value}");
    }
    for (driver, name, value) in [
        ("bridge", "mtu", "5"),
        ("bridge", "parent", "eth0"),
        ("bridge", "com.docker.network.bridge.name", "a b"),
        ("macvlan", "parent", "eth0.9999"),
        ("macvlan", "mode", "l2"),
        ("ipvlan", "isolate", "true"),
    ] {
        assert!(refused(option(driver, name, value)).contains(name), "{driver} {name}={value}");
    }
}
