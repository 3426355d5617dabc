//! Texts that come with the engine, for the platform's own actions.

/// A message in all its forms.
pub(crate) struct BuiltIn {
    pub(crate) name: &'static str,
    pub(crate) subject: &'static str,
    pub(crate) text: &'static str,
    pub(crate) html: &'static str,
    /// For phones.
    pub(crate) short: &'static str,
}

impl BuiltIn {
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|template| template.name == name)
    }

    pub(crate) fn names() -> String {
        ALL.map(|template| template.name).join(", ")
    }
}

const ALL: [BuiltIn; 3] = [
    BuiltIn {
        name: "tenant_welcome",
        subject: "Welcome, {{ tenant_name|default(name) }}",
        text: "Hello,\n\nyour workspace {{ tenant_name|default(name) }} is ready.\n\
            {% if login_url is defined %}\nSign in: {{ login_url }}\n{% endif %}",
        html: "<p>Hello,</p>\n<p>your workspace <strong>{{ tenant_name|default(name) }}</strong> \
            is ready.</p>\n{% if login_url is defined %}\
            <p><a href=\"{{ login_url }}\">Sign in</a></p>\n{% endif %}",
        short: "Your workspace {{ tenant_name|default(name) }} is ready.",
    },
    BuiltIn {
        name: "user_invitation",
        subject: "You are invited{% if organization_name is defined %} to \
            {{ organization_name }}{% endif %}",
        text: "Hello{% if name is defined %} {{ name }}{% endif %},\n\n\
            {% if invited_by is defined %}{{ invited_by }} invites you{% else %}you are invited\
            {% endif %}{% if organization_name is defined %} to {{ organization_name }}\
            {% endif %}.\n\nAccept the invitation: {{ invitation_url }}\n",
        html: "<p>Hello{% if name is defined %} {{ name }}{% endif %},</p>\n\
            <p>{% if invited_by is defined %}{{ invited_by }} invites you{% else %}you are \
            invited{% endif %}{% if organization_name is defined %} to \
            <strong>{{ organization_name }}</strong>{% endif %}.</p>\n\
            <p><a href=\"{{ invitation_url }}\">Accept the invitation</a></p>\n",
        short: "You are invited. Accept: {{ invitation_url }}",
    },
    BuiltIn {
        name: "user_welcome",
        subject: "Welcome, {{ first_name|default(name) }}",
        text: "Hello {{ first_name|default(name) }},\n\nyour account is ready.\n\
            {% if login_url is defined %}\nSign in: {{ login_url }}\n{% endif %}",
        html: "<p>Hello {{ first_name|default(name) }},</p>\n<p>your account is ready.</p>\n\
            {% if login_url is defined %}<p><a href=\"{{ login_url }}\">Sign in</a></p>\n\
            {% endif %}",
        short: "Welcome, {{ first_name|default(name) }}! Your account is ready.",
    },
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::ALL;
    use crate::template::{Escape, check, render};

    #[test]
    fn every_text_says_something_and_misses_nothing() {
        let data = json!({ "name": "Ann & Co", "invitation_url": "https://a.example/i?x=1" });
        for template in &ALL {
            for source in [template.subject, template.text, template.html, template.short] {
                assert_eq!(check(source), Ok(()), "{}", template.name);
                let text = render(source, &data, Escape::Plain).expect("a text");
                assert!(!text.trim().is_empty(), "{}", template.name);
                assert!(
                    render(source, &json!({}), Escape::Plain).is_err()
                        || !source.contains("{{ name")
                );
            }
            assert!(render(template.html, &data, Escape::Html).expect("a text").contains("Hello"));
        }
    }
}
