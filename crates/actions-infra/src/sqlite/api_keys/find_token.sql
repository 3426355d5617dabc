select api_key.*, token.digest, token.ends_at
from engine_api_key_token as token
join engine_api_key as api_key on api_key.id = token.api_key
where token.lookup = ?
